"""The Laplacian over the anchors.

========== ===================================================================
W          symmetric edge weights, no loops, (m, m)
L          D − W, D the diagonal of the row sums
L0         bootstrap: W = exp(−‖a − b‖² / 2h²) over each anchor's k nearest
L          energy Laplacian: the same after heat flow over L0, with
           W = exp(−d_energy(a, b)); energies as in `distance`
h          median distance of the graph's edges
========== ===================================================================
"""

from __future__ import annotations

import torch

from energy_plugin.energy.blocks import EPS


def nearest_edges(points: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """K nearest other points: positions (m, k) and distances (m, k)."""
    gaps = torch.cdist(points, points).fill_diagonal_(torch.inf)
    best = gaps.topk(min(k, len(points) - 1), dim=1, largest=False)
    return best.indices, best.values


def symmetric_weights(indices: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Dense W of a directed neighbour list: an edge in either direction counts once."""
    m = len(indices)
    dense = torch.zeros(m, m, dtype=torch.float32, device=weights.device)
    dense.scatter_(1, indices, weights)
    return torch.maximum(dense, dense.T)


def laplacian(weights: torch.Tensor) -> torch.Tensor:
    """L = D − W; (m, m)."""
    return torch.diag(weights.sum(1)) - weights


def bootstrap_weights(points: torch.Tensor, k: int) -> torch.Tensor:
    """W of L0; a single point has no edges."""
    if len(points) < 2:
        return torch.zeros(len(points), len(points), dtype=torch.float32, device=points.device)
    indices, gaps = nearest_edges(points, k)
    bandwidth = float(gaps.median()) or 1.0
    return symmetric_weights(indices, torch.exp(-gaps.square() / (2 * bandwidth**2)))


def diffuse(points: torch.Tensor, weights: torch.Tensor, heat: float, steps: int) -> torch.Tensor:
    """Heat flow X ← X − η·D⁻¹L·X over a graph; each step is a weighted mean of neighbours."""
    degree = weights.sum(1, keepdim=True)
    for _ in range(steps):
        flow = points - (weights @ points) / degree.clamp_min(EPS)
        points = points - heat * torch.where(degree > 0, flow, torch.zeros_like(flow))
    return points
