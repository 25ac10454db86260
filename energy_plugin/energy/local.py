"""The query joins the graph: heat flows over the candidates and the query for one step.

========== ===================================================================
q, Y       query (d,), candidates (c, d), unit length
p·Y        mean of the candidates nearest to q, weights max(0, cos)^power
q'         normalise(q − η_q(q − p·Y))
s          ⟨q', Y⟩, the temperature of each candidate, (c,)
P          row-stochastic, max(0, cos)^power to the k nearest candidates
result     s + η·max(0, Ps − s)
========== ===================================================================

Heat flows one way, from warmer candidates into colder ones. The flow in both directions cools
the best candidate towards its neighbours, which costs the first places wherever one row alone
answers a query.
"""

from __future__ import annotations

import torch

from energy_plugin.energy.device import unit
from energy_plugin.energy.heat import stochastic


def joined_similarity(
    queries: torch.Tensor,
    candidates: torch.Tensor,
    real: torch.Tensor,
    *,
    heat: float,
    query_heat: float,
    neighbours: int,
    query_neighbours: int,
    power: float,
) -> torch.Tensor:
    """Similarities to the query after a step of heat flow on each query's own graph.

    Parameters
    ----------
    queries : tensor of shape (b, d)
    candidates : tensor of shape (b, c, d)
    real : tensor of shape (b, c), bool
        Candidates that have a direction; others take no part.
    heat, query_heat : float
        η of the candidates and of the query.
    neighbours, query_neighbours : int
        Edges of a candidate and of the query.
    power : float
        Exponent of the weights.

    Returns
    -------
    tensor of shape (b, c)
        At most the largest similarity before the flow.
    """
    count = candidates.shape[1]
    y = unit(candidates)
    to_query = torch.bmm(y, queries[:, :, None])[:, :, 0].masked_fill(~real, -2.0)  # (b, c)
    pull = to_query.topk(min(query_neighbours, count), dim=1)
    weights = stochastic(pull.values, power)  # (b, kq)
    spread = torch.zeros_like(to_query).scatter_(1, pull.indices, weights)
    fed = weights.sum(1, keepdim=True)
    moved = queries - query_heat * (fed * queries - torch.bmm(spread[:, None, :], y)[:, 0])
    similarity = torch.bmm(y, unit(moved)[:, :, None])[:, :, 0]  # s
    if neighbours == 0 or count == 1 or heat == 0:
        return similarity
    gram = torch.bmm(y, y.transpose(1, 2))  # (b, c, c)
    gram.diagonal(dim1=1, dim2=2).fill_(-2.0)
    gram.masked_fill_(~real[:, None, :], -2.0)
    near = gram.topk(min(neighbours, count - 1), dim=2)  # (b, c, k)
    weights = stochastic(near.values, power)
    around = similarity.gather(1, near.indices.flatten(1)).view_as(weights)  # s of neighbours
    warmer = (weights * (around - similarity[:, :, None])).sum(2)  # Ps − s
    return similarity + heat * warmer.clamp_min(0)
