"""Heat flow on the row graph: rows move towards their neighbours.

x̃ = normalise(x − η(x − Px)), P row-stochastic with weights max(0, cos)^power.
"""

from __future__ import annotations

import torch

from energy_plugin.energy.blocks import EPS, blocks, inner, unit


def stochastic(cosines: torch.Tensor, power: float) -> torch.Tensor:
    """Weights max(0, cos)^power with rows that sum to one, or to zero if none is positive."""
    weights = cosines.clamp_min(0).pow(power)
    return weights / weights.sum(-1, keepdim=True).clamp_min(EPS)


def smooth(
    rows: torch.Tensor, pool: torch.Tensor, neighbours: torch.Tensor, heat: float, power: float
) -> torch.Tensor:
    """One step of heat flow.

    Parameters
    ----------
    rows : tensor of shape (n, d)
        Unit rows.
    pool : tensor of shape (p, d)
        Unit rows that heat comes from; often `rows` itself.
    neighbours : tensor of shape (n, k), int64
        Positions in `pool`.
    heat, power : float
        η and the exponent of the weights.

    Returns
    -------
    tensor of shape (n, d)
        Unit rows. A row without a positive neighbour stays as it is.
    """
    if heat == 0 or neighbours.shape[1] == 0:
        return rows.clone()
    out = torch.empty_like(rows)
    for part in blocks(len(rows), neighbours.shape[1] * rows.shape[1]):
        x = rows[part]  # (b, d)
        near = pool.index_select(0, neighbours[part].flatten()).view(len(x), -1, pool.shape[1])
        weights = stochastic(inner(x, near), power)  # (b, k)
        mean = torch.bmm(weights[:, None, :], near)[:, 0]  # Px, (b, d)
        fed = weights.sum(1, keepdim=True)  # 1, or 0 without any positive neighbour
        out[part] = unit(x - heat * (fed * x - mean))
    return out


def warmed(
    rows: torch.Tensor, pool: torch.Tensor, *, first: int, k: int, heat: float, power: float
) -> torch.Tensor:
    """New rows after heat from their k nearest of a pool that they stand in themselves.

    Parameters
    ----------
    rows : tensor of shape (n, d)
    pool : tensor of shape (p, d)
        Present rows, then `rows`, which begin at position `first`.
    """
    out = []
    for part in blocks(len(rows), len(pool)):
        x = rows[part]
        similarity = x @ pool.T
        own = torch.arange(len(x), dtype=torch.int64, device=x.device)
        similarity[own, first + part.start + own] = -torch.inf  # a row does not heat itself
        near = similarity.topk(min(k, len(pool) - 1), dim=1).indices
        out.append(smooth(x, pool, near, heat, power))
    return torch.cat(out)
