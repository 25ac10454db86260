"""Taumode λ and dispersion G of any vector: one function and one graph for rows and queries.

========== ===================================================================
z          vector in the field's metric; a_1..a_p its nearest anchors
s          its signal on the anchor graph: s_a = exp(−(‖z − a‖² − ‖z − a_1‖²) / 2h²)
           on a_1..a_p, zero elsewhere
W, L       weights and Laplacian of the anchor graph
E          sᵀLs / sᵀs, the Rayleigh quotient: how rough the graph is at z
G          Σ_edges (share of the edge in sᵀLs)²: 1 if one edge holds it all
λ          α·E/(E + τ) + (1 − α)·G
========== ===================================================================

The signal has p entries, so that sᵀLs needs the p×p block of W and the degrees; edges that
leave the block carry w·s_a².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from energy_plugin.energy.blocks import EPS, blocks
from energy_plugin.energy.config import EnergyConfig


@dataclass(frozen=True)
class AnchorGraph:
    """Anchors with their weights, and what taumode needs of them."""

    anchors: torch.Tensor  # (m, d)
    weights: torch.Tensor  # (m, m)
    bandwidth: float  # h
    affinity: int  # p

    @cached_property
    def half(self) -> torch.Tensor:
        """‖a‖²/2 of each anchor; (m,)."""
        return 0.5 * self.anchors.square().sum(1)

    @cached_property
    def degrees(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of the weights, and of their squares, at each anchor; (m,) each."""
        return self.weights.sum(1), self.weights.square().sum(1)

    def signal(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions (n, p) and values (n, p) of the signals of points (n, d)."""
        p = min(self.affinity, len(self.anchors))
        best = (points @ self.anchors.T - self.half).topk(p, dim=1)
        gain = best.values - best.values[:, :1]  # −(‖z−a‖² − ‖z−a₁‖²)/2, at most 0
        return best.indices, torch.exp(gain / self.bandwidth**2)

    def energies(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """E (n,) and G (n,) of points (n, d)."""
        degree, degree2 = self.degrees
        rough, dispersion = [], []
        width = max(len(self.anchors), min(self.affinity, len(self.anchors)) ** 2)
        for part in blocks(len(points), width):
            where, s = self.signal(points[part])  # (b, p)
            inner = self.weights[where[:, :, None], where[:, None, :]]  # (b, p, p)
            edge = inner * (s[:, :, None] - s[:, None, :]).square()  # each edge twice
            outer = (degree[where] - inner.sum(2)).clamp_min(0) * s.square()  # (b, p)
            outer2 = (degree2[where] - inner.square().sum(2)).clamp_min(0) * s.pow(4)
            total = 0.5 * edge.sum((1, 2)) + outer.sum(1)  # sᵀLs
            squares = 0.5 * edge.square().sum((1, 2)) + outer2.sum(1)
            rough.append(total / s.square().sum(1))
            dispersion.append((squares / total.square().clamp_min(EPS**2)).clamp(0, 1))
        return torch.cat(rough), torch.cat(dispersion)


def choose_tau(rough: torch.Tensor, config: EnergyConfig) -> float:
    """τ of the configuration's mode from the energies E of the fitted rows; positive."""
    if config.tau_mode == "fixed":
        return config.tau
    if config.tau_mode == "mean":
        value = float(rough.mean())
    else:
        share = 0.5 if config.tau_mode == "median" else min(1.0, config.tau)
        value = float(rough.sort().values[round(share * (len(rough) - 1))])
    return value if value > EPS else 1.0


def taumode(
    rough: torch.Tensor, dispersion: torch.Tensor, tau: float, alpha: float
) -> torch.Tensor:
    """λ from E and G; non-negative and finite."""
    return alpha * rough / (rough + tau) + (1 - alpha) * dispersion
