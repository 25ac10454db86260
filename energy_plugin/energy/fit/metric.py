"""The feature-space Dirichlet metric and the strength it takes from the collection.

========== ===================================================================
x_i        row i, unit length; μ mean row; k neighbours N(i); n rows, d dimensions
C          (1/nk) Σ_i Σ_{j∈N(i)} (x_i − x_j)(x_i − x_j)ᵀ = XᵀLX of the unweighted
           row graph: the energy that neighbourhoods put into each direction
m̄          mean similarity of two different rows, (n‖μ‖² − 1)/(n − 1)
ν          neighbourhood similarity: m̄ of the `REACH` rows nearest to a row, the mean over
           `SAMPLE` rows; a mixture of subjects has a small m̄ and the ν of its subjects
γ          floor + slope / ν⁴, times 1 + d/nk (few pairs say little about C)
M          (C / mean eigenvalue + γI)^(−exponent)
t          min(1, ν / full_strength), the scale of every heat
ℓ          mean_level·(1 − m̄), the mean similarity that is left to rows; where m̄ is larger, c·μ
           is subtracted from them before C and ν are taken, 1 − c = √(ℓ(1 − m̄) / (m̄(1 − ℓ)))
========== ===================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from energy_plugin.energy.blocks import EPS, blocks, unit
from energy_plugin.energy.config import EnergyConfig

REACH = 100  # rows of a neighbourhood
SAMPLE = 128  # neighbourhoods that are looked at
GAMMA_CAP = 1e6  # beyond it M is a multiple of the identity in float32


@dataclass(frozen=True)
class Strength:
    """How much of the recipe a collection gets: γ (regularisation) and t (heat)."""

    gamma: float
    heat: float


def mean_similarity(rows: torch.Tensor) -> float:
    """m̄ of unit rows, unbiased, never negative; 1 for a single row."""
    n = len(rows)
    if n < 2:
        return 1.0
    squared = (
        float(rows.double().mean(0).square().sum())
        if n < 4096
        else float(rows.mean(0).double().square().sum())
    )
    return max(0.0, (n * squared - 1) / (n - 1))


def levelled(
    rows: torch.Tensor, similarity: float, mean_level: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Unit rows whose mean similarity is at most ℓ.

    Models whose rows all point one way (m̄ of .5 to .9) leave nothing for neighbourhoods to
    say before their common direction is taken away; others stay as they are.

    Parameters
    ----------
    rows : tensor of shape (n, d)
        Unit rows.
    similarity : float
        m̄ of them.
    mean_level : float

    Returns
    -------
    rows : tensor of shape (n, d)
        Unit rows, the given ones where m̄ is small enough.
    centre : tensor of shape (d,)
        What was subtracted, c·μ.
    length : float
        Mean length of the rows after it.
    """
    none = torch.zeros(rows.shape[1], dtype=rows.dtype, device=rows.device)
    level = mean_level * (1 - similarity)
    if len(rows) < 2 or similarity <= level or level <= EPS:
        return rows, none, 1.0
    left = (level * (1 - similarity) / (similarity * (1 - level))) ** 0.5
    centre = (1 - left) * rows.mean(0)
    out = torch.empty_like(rows)
    total = 0.0
    for part in blocks(len(rows), rows.shape[1]):
        moved = rows[part] - centre
        total += float(moved.norm(dim=1).sum())
        out[part] = unit(moved)
    return out, centre, total / len(rows)


def neighbourhood_similarity(rows: torch.Tensor, seed: int) -> float:
    """ν of unit rows (n, d), never negative; m̄ itself where n is at most `REACH`."""
    n = len(rows)
    if n <= REACH:
        return mean_similarity(rows)
    chosen = np.random.default_rng(seed).choice(n, min(n, SAMPLE), replace=False)
    some = rows[torch.from_numpy(np.sort(chosen)).to(rows.device)]
    total = 0.0
    for part in blocks(len(some), max(n, REACH * rows.shape[1])):
        near = (some[part] @ rows.T).topk(REACH, dim=1).indices  # the row itself among them
        squared = embedding_bag(near, rows, mode="mean").square().sum(1)  # (b,)
        total += float(((REACH * squared - 1) / (REACH - 1)).sum())
    return max(0.0, total / len(some))


def strength(similarity: float, pairs: int, dim: int, config: EnergyConfig) -> Strength:
    """γ and t from the neighbourhood similarity ν and the number of neighbour pairs."""
    gamma = config.gamma_floor + config.gamma_slope / max(similarity, 1e-9) ** 4
    gamma *= 1 + dim / max(1, pairs)
    return Strength(min(gamma, GAMMA_CAP), min(1.0, similarity / config.full_strength))


def dirichlet_form(rows: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """C, from one product instead of n·k outer products; (d, d)."""
    n, k = neighbours.shape
    if n == 0 or k == 0:
        return torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float32, device=rows.device)
    near = embedding_bag(neighbours, rows, mode="mean")  # mean neighbour, (n, d)
    degree = torch.bincount(neighbours.reshape(-1), minlength=n).to(rows.dtype) / k  # (n,)
    half = rows.T @ (rows * (0.5 * (1 + degree))[:, None] - near)
    return (half + half.T) / n


def dirichlet_metric(form: torch.Tensor, gamma: float, exponent: float) -> torch.Tensor:
    """M, symmetric, scaled to largest eigenvalue 1; (d, d) float32."""
    level = float(form.diagonal().mean())
    if level <= EPS or exponent == 0:  # no neighbourhood varies at all, or no metric is asked
        return torch.eye(len(form), dtype=form.dtype, device=form.device)
    whole = form / level
    values, axes = torch.linalg.eigh(whole.cpu() if whole.device.type == "mps" else whole)
    scale = (values.clamp_min(0) + gamma).pow(-exponent)
    return ((axes * (scale / scale.max())) @ axes.T).float().to(form.device)
