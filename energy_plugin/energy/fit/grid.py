"""Optical compression of the anchors: fewer of them, seen from above on a grid.

The stage of the reference (arrowspace) that gives a field a budget of anchors: they are looked
at in two dimensions, like tokens on a page, and anchors of one grid square become one.

========== ===================================================================
A          anchors (m, d); b the budget of anchors that may stay
P          two random directions, orthonormal, (d, 2) (Johnson and Lindenstrauss 1984)
bin        square of A·P on a grid of g × g, g = ⌊√b⌋, each axis cut at its quantiles
trimmed    the `trim` share of highest norms of a bin; a bin keeps at least one anchor
activation rows that the bin's anchors hold; the least active bins go into the nearest others
result     the mean of a bin's anchors, weighted by their rows, trimmed ones left out
========== ===================================================================
"""

from __future__ import annotations

import math

import numpy as np
import torch

TRIM = 0.1


def plane(dim: int, seed: int) -> torch.Tensor:
    """P, two orthonormal random directions; one where there is one dimension; (d, min(d, 2))."""
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.standard_normal((dim, min(dim, 2))))
    return torch.from_numpy(directions.astype(np.float32))


def spatial_bins(flat: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of points (m, 2 or 1) on a grid of side × side quantiles; (m,) int64."""
    m = len(flat)
    rank = torch.argsort(torch.argsort(flat, dim=0, stable=True), dim=0, stable=True)
    cuts = rank * side // max(1, m)  # (m, 2), each axis 0 .. side − 1
    return cuts[:, 0] if flat.shape[1] == 1 else cuts[:, 0] * side + cuts[:, 1]


def trim_high_norms(anchors: torch.Tensor, bins: torch.Tensor, trim: float) -> torch.Tensor:
    """Which anchors stay: the `trim` share of highest norms of each bin does not; (m,) bool."""
    keep = torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    norms = anchors.norm(dim=1)
    for which in bins.unique().tolist():
        members = (bins == which).nonzero()[:, 0]
        excess = min(int(trim * len(members)), len(members) - 1)
        if excess > 0:
            keep[members[torch.argsort(norms[members], stable=True)[-excess:]]] = False
    return keep


def optical_compression(
    anchors: torch.Tensor,
    rows: torch.Tensor,
    budget: int,
    *,
    seed: int = 0,
    trim: float = TRIM,
) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `budget` anchors in place of all.

    Parameters
    ----------
    anchors : tensor of shape (m, d)
    rows : tensor of shape (m,)
        Rows that each anchor holds, its activation.
    budget : int
        At least 1. A budget of m or more changes nothing.
    seed : int
        Of the plane.
    trim : float
        Share of a bin's anchors, those of highest norm, that its mean leaves out.

    Returns
    -------
    compressed : tensor of shape (b, d), b ≤ budget
    member : tensor of shape (m,), int64
        Where each anchor went.
    """
    m = len(anchors)
    if budget >= m:
        return anchors.clone(), torch.arange(m, dtype=torch.int64, device=anchors.device)
    flat = anchors @ plane(anchors.shape[1], seed).to(anchors.device)
    # a random plane leaves squares empty: the finest grid that does not exceed twice the
    # budget is pooled down to it
    side = max(1, math.isqrt(2 * budget))
    member = spatial_bins(flat, side if flat.shape[1] > 1 else 2 * budget).unique(
        return_inverse=True
    )[1]
    active = rows.to(anchors.dtype).clamp_min(1e-6)
    weight = active * trim_high_norms(anchors, member, trim)
    while True:
        count = int(member.max()) + 1
        mass = torch.zeros(count, dtype=torch.float32, device=anchors.device).index_add_(
            0, member, weight
        )
        sums = torch.zeros(count, anchors.shape[1], dtype=torch.float32, device=anchors.device)
        means = sums.index_add_(0, member, anchors * weight[:, None]) / mass[:, None]
        if count <= budget:
            return means, member
        # low-activation pooling: the least active bin goes into the bin nearest to it
        least = int(
            torch.zeros(count, dtype=torch.float32, device=anchors.device)
            .index_add_(0, member, active)
            .argmin()
        )
        gaps = (means - means[least]).square().sum(1)
        gaps[least] = torch.inf
        member = torch.where(member == least, gaps.argmin(), member)
        member = member.unique(return_inverse=True)[1]
