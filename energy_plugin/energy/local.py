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

from energy_plugin.energy.device import unit
from energy_plugin.energy.heat import stochastic


def _sparse_stochastic(cosines: torch.Tensor, k: int, power: float) -> torch.Tensor:
    """Dense P with at most k entries a row."""
    best = cosines.topk(k, dim=-1)
    weights = torch.where(best.values > -1, best.values, torch.zeros_like(best.values))
    return torch.zeros_like(cosines).scatter_(-1, best.indices, stochastic(weights, power))


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
    q = queries
    to_query = torch.bmm(y, q[:, :, None])[:, :, 0].masked_fill(~real, -2.0)  # (b, c)
    pull = _sparse_stochastic(to_query, min(query_neighbours, count), power)
    fed = pull.sum(1, keepdim=True)
    q = unit(q - query_heat * (fed * q - torch.bmm(pull[:, None, :], y)[:, 0]))
    if neighbours > 0 and count > 1 and heat > 0:
        between = torch.bmm(y, y.transpose(1, 2))  # (b, c, c)
        between.diagonal(dim1=1, dim2=2).fill_(-2.0)
        between.masked_fill_(~real[:, None, :], -2.0)
        flow = _sparse_stochastic(between, min(neighbours, count - 1), power)
        fed = flow.sum(2, keepdim=True)
        y = unit(y - heat * (fed * y - torch.bmm(flow, y)))
    return torch.bmm(y, q[:, :, None])[:, :, 0]
