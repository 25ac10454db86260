"""The query joins the graph: heat flows over the candidates and the query for one step.

========== ===================================================================
q, Y       query (d,), candidates (c, d), unit length
P          row-stochastic, max(0, cos)^power to the k nearest candidates
y'         normalise(y − η_y(y − (PY)_y))
q'         normalise(q − η_q(q − p·Y)), p over the nearest candidates, likewise
result     ⟨q', y'⟩
========== ===================================================================
"""

from __future__ import annotations

import torch

from energy_plugin.energy.device import EPS, unit
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
    """Inner products after a step of heat flow on each query's own graph.

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
    """
    count = candidates.shape[1]
    y = unit(candidates)
    to_query = torch.bmm(y, queries[:, :, None])[:, :, 0].masked_fill(~real, -2.0)  # (b, c)
    pull = to_query.topk(min(query_neighbours, count), dim=1)
    weights = stochastic(pull.values, power)  # (b, kq)
    spread = torch.zeros_like(to_query).scatter_(1, pull.indices, weights)
    fed = weights.sum(1, keepdim=True)
    moved = queries - query_heat * (fed * queries - torch.bmm(spread[:, None, :], y)[:, 0])
    similarity = torch.bmm(y, unit(moved)[:, :, None])[:, :, 0]  # ⟨q', y⟩
    if neighbours == 0 or count == 1 or heat == 0:
        return similarity
    # y' is a mean of few candidates, so that its length and ⟨q', y'⟩ follow from the Gram matrix
    gram = torch.bmm(y, y.transpose(1, 2))  # (b, c, c)
    length2 = gram.diagonal(dim1=1, dim2=2).clone()
    gram.diagonal(dim1=1, dim2=2).fill_(-2.0)
    gram.masked_fill_(~real[:, None, :], -2.0)
    near = gram.topk(min(neighbours, count - 1), dim=2)  # (b, c, k)
    weights = stochastic(near.values, power)
    gram.diagonal(dim1=1, dim2=2).copy_(length2)
    where = near.indices
    batch = torch.arange(len(y), device=y.device)
    among = gram[batch[:, None, None, None], where[:, :, :, None], where[:, :, None, :]]
    stay = 1 - heat * weights.sum(2)  # (b, c)
    flow = similarity[batch[:, None, None], where]  # ⟨q', y_j⟩, (b, c, k)
    inner = stay * similarity + heat * (weights * flow).sum(2)
    mixed = (among * weights[:, :, None, :]).sum(3)  # (b, c, k)
    squared = (
        stay.square() * length2
        + 2 * stay * heat * (weights * near.values).sum(2)
        + heat**2 * (weights * mixed).sum(2)
    )
    return inner / squared.clamp_min(EPS).sqrt()
