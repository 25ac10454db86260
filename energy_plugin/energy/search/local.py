"""The query joins the graph: heat flows over the candidates and the query for one step.

========== ===================================================================
q, Y       query (d,), candidates (c, d), unit length
p·Y        mean of the candidates nearest to q, weights max(0, cos)^power
q'         normalise(q − η_q(q − p·Y))
s          ⟨q', Y⟩, the temperature of each candidate, (c,)
P          row-stochastic, max(0, cos)^power to the k nearest candidates; to all of those as
           near as the k-th
result     s + η·max(0, Ps − s)
========== ===================================================================

Heat flows one way, from warmer candidates into colder ones. The flow in both directions cools
the best candidate towards its neighbours, which costs the first places wherever one row alone
answers a query.
"""

from __future__ import annotations

import numpy as np
import torch

from energy_plugin.energy.blocks import EPS, inner, unit
from energy_plugin.energy.fit.heat import stochastic

OUT = -2.0  # below every cosine


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
    similarity = inner(queries, y)
    if query_heat > 0:
        known = similarity.masked_fill(~real, OUT)
        pull = known.topk(min(query_neighbours, count), dim=1)
        weights = stochastic(pull.values, power)  # (b, kq)
        moved = pulled(queries, picked(y, pull.indices), weights, query_heat)
        similarity = inner(moved, y)  # s
    if neighbours == 0 or count == 1 or heat == 0:
        return similarity
    weights = edges(y, real, neighbours, power)
    return flowed(similarity[:, None], weights, heat)[:, 0]


def pulled(
    queries: torch.Tensor, near: torch.Tensor, weights: torch.Tensor, heat: float
) -> torch.Tensor:
    """Queries (b, d) after heat from rows (b, k, d), weights (b, k) that sum to 1 or 0."""
    mean = torch.bmm(weights[:, None, :], near)[:, 0]  # p·Y
    return unit(queries - heat * (weights.sum(1, keepdim=True) * queries - mean))


def picked(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows (b, c, d) at places (b, k); (b, k, d). A flat index_select is the fastest way."""
    first = rows.shape[1] * torch.arange(len(rows), dtype=torch.int64, device=rows.device)[:, None]
    flat = rows.flatten(0, 1).index_select(0, (first + places).flatten())
    return flat.view(*places.shape, -1)


def edges(y: torch.Tensor, real: torch.Tensor, neighbours: int, power: float) -> torch.Tensor:
    """Weights of the candidates' graph, not yet row-stochastic; (b, c, c)."""
    count = y.shape[1]
    gram = torch.bmm(y, y.transpose(1, 2))  # (b, c, c)
    gram.diagonal(dim1=1, dim2=2).fill_(OUT)
    if not real.all():
        gram.masked_fill_(~real[:, None, :], OUT)
    floor = kth_largest(gram, min(neighbours, count - 1)).clamp_min_(0)
    edge = torch.ge(gram, floor, out=torch.empty_like(gram))  # as floats: products with bools crawl
    return gram.clamp_min_(0).pow_(power).mul_(edge)


def flowed(values: torch.Tensor, weights: torch.Tensor, heat: float) -> torch.Tensor:
    """One-way flow, s + η·max(0, Ps − s), of several signals s at once, (b, m, c)."""
    ones = torch.ones_like(values[:, :1])
    around = torch.bmm(torch.cat([values, ones], 1), weights.transpose(1, 2))
    fed = around[:, -1:]  # sums over neighbours
    warmer = (around[:, :-1] - fed * values) / fed.clamp_min(EPS)  # Ps − s
    return values + heat * warmer.clamp_min(0)


def kth_largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """K-th largest along the last axis, kept; numpy partitions on CPUs several times faster."""
    if values.device.type == "cpu":
        place = values.shape[-1] - k
        return torch.from_numpy(np.partition(values.numpy(), place)[..., place, None])
    return values.topk(k, dim=-1).values[..., -1:]
