"""The energy distance.

d(q, i) = w_λ·|λ_q − λ_i|/s_λ + w_G·|G_q − G_i|/s_G + w_D·D,  D = δ/(1 + δ)

========== ===================================================================
δ          ‖q − x̃_i‖ in the field's metric, where both have unit length: √(2 − 2⟨q, x̃_i⟩)
s_λ, s_G   robust scales of the fitted rows, 1.4826·MAD
w          weights of the configuration
========== ===================================================================

Differences saturate at `CAP` scales: one outlier of λ must not rule the order. A row of zeros
has no direction: it gets every term's largest value and ranks last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

CAP = 8.0


def robust_scale(values: torch.Tensor) -> float:
    """1.4826·median|x − median|, or 1 if the values hardly vary."""
    if len(values) == 0:
        return 1.0
    median = values.median()
    scale = 1.4826 * float((values - median).abs().median())
    return scale if scale > 1e-6 else 1.0


def dirichlet(similarity: torch.Tensor) -> torch.Tensor:
    """D = δ/(1 + δ) from inner products of unit vectors."""
    gap = (2 - 2 * similarity).clamp_min(0).sqrt()
    return gap / (1 + gap)


@dataclass(frozen=True)
class Energies:
    """Weights and scales of one field."""

    weights: tuple[float, float, float]  # w_λ, w_G, w_D
    scales: tuple[float, float]  # s_λ, s_G

    def lambda_term(self, query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """w_λ·|λ_q − λ_i|/s_λ; the shapes broadcast."""
        return self.weights[0] * ((query - rows).abs() / self.scales[0]).clamp_max(CAP)

    def dispersion_term(self, query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """w_G·|G_q − G_i|/s_G; the shapes broadcast."""
        return self.weights[1] * ((query - rows).abs() / self.scales[1]).clamp_max(CAP)

    def dirichlet_term(self, similarity: torch.Tensor) -> torch.Tensor:
        """w_D·D."""
        return self.weights[2] * dirichlet(similarity)

    @property
    def worst(self) -> tuple[float, float, float]:
        """The terms of a row without direction."""
        return (self.weights[0] * CAP, self.weights[1] * CAP, self.weights[2])
