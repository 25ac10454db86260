"""Voronoi anchors: annealed k-means with trimmed means, then merge and split of cells.

========== ===================================================================
n, m, d    rows, anchors, dimensions
a_c        anchor of cell c: the plain mean of its rows, never re-normalised
           (a mean of fixed length would leave a bias in every residual)
S_c        distortion of a cell, Σ ‖x − a_c‖²
T          temperature, 1 → 0: anchors are shaken by T·rms distance before a step; while it
           is above 0, a cell's farthest rows (`trim`) do not count in its mean
========== ===================================================================
"""

from __future__ import annotations

import math

import numpy as np
import torch

from energy_plugin.energy.blocks import blocks
from energy_plugin.energy.config import MOST_ANCHORS

TRAIN_ROWS_PER_ANCHOR = 32  # more rows than that do not move a mean any further
SHAKE = 0.3  # of the rms distance to the anchor, at temperature 1
MOVES = 0.1  # share of the anchors that one merge-and-split round may move


def default_count(n: int) -> int:
    """About 4·sqrt(n), at least two rows a cell."""
    return max(1, min(round(4 * math.sqrt(n)), n // 2, MOST_ANCHORS))


def assign(points: torch.Tensor, anchors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest anchor of each point.

    Returns
    -------
    cell : tensor of shape (n,), int64
    squared : tensor of shape (n,)
        Squared Euclidean distance to it.
    """
    half = 0.5 * anchors.square().sum(1)  # (m,)
    cells, squared = [], []
    for part in blocks(len(points), len(anchors)):
        x = points[part]
        best, cell = (x @ anchors.T - half).max(1)  # (b,)
        cells.append(cell)
        squared.append((x.square().sum(1) - 2 * best).clamp_min(0))
    return torch.cat(cells), torch.cat(squared)


def cell_means(
    points: torch.Tensor, cell: torch.Tensor, previous: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain means and sizes of the cells; an empty cell keeps its previous anchor."""
    sums = torch.zeros_like(previous).index_add_(0, cell, points)  # (m, d)
    size = torch.bincount(cell, minlength=len(previous))  # (m,)
    means = torch.where(size[:, None] > 0, sums / size.clamp_min(1)[:, None], previous)
    return means, size


def trimmed_means(
    points: torch.Tensor,
    cell: torch.Tensor,
    squared: torch.Tensor,
    previous: torch.Tensor,
    trim: float,
) -> torch.Tensor:
    """Means of the cells without the farthest ⌊trim·rows⌋ of each; (m, d).

    `squared` holds the squared distances to the anchors; an empty cell keeps its previous one.
    """
    if trim == 0:
        return cell_means(points, cell, previous)[0]
    order = torch.argsort(squared, stable=True)
    order = order[torch.argsort(cell[order], stable=True)]  # by cell, then by distance
    size = torch.bincount(cell, minlength=len(previous))  # (m,)
    place = (
        torch.arange(len(cell), dtype=torch.int64, device=cell.device)
        - (size.cumsum(0) - size)[cell[order]]
    )
    kept = order[place < (size - (trim * size).long())[cell[order]]]
    return cell_means(points.index_select(0, kept), cell[kept], previous)[0]


def merge_and_split(
    points: torch.Tensor, anchors: torch.Tensor, cell: torch.Tensor, squared: torch.Tensor
) -> torch.Tensor:
    """Move anchors from pairs that are cheap to merge into cells that are dear to keep.

    A pair costs Ward's |A||B|/(|A| + |B|)·‖a − b‖² (Ward 1963) and is merged while that is
    below a quarter of the distortion of the heaviest cell, which gets the free anchor.
    """
    m = len(anchors)
    size = torch.bincount(cell, minlength=m).to(anchors.dtype)
    distortion = torch.zeros(m, dtype=anchors.dtype, device=anchors.device).index_add_(
        0, cell, squared
    )
    near = torch.cdist(anchors, anchors).fill_diagonal_(torch.inf)
    gap, partner = near.min(1)
    other = size[partner]
    cost = size * other / (size + other).clamp_min(1) * gap.square()  # Ward's merge cost
    cost = torch.where(size == 0, torch.zeros_like(cost), cost)
    cheap = torch.argsort(cost, stable=True).tolist()
    dear = torch.argsort(distortion, descending=True, stable=True).tolist()
    order = torch.argsort(squared, stable=True)
    order = order[torch.argsort(cell[order], stable=True)]  # by cell, then by distance
    farthest = order[(size.long().cumsum(0) - 1).clamp_min(0)]  # of a cell that has rows
    anchors = anchors.clone()
    touched: set[int] = set()
    moves = 0
    costs, distortions = cost.tolist(), distortion.tolist()
    partners, sizes = partner.tolist(), size.tolist()
    heavy = iter(dear)
    for c in cheap:
        if moves >= max(1, int(MOVES * m)):
            break
        p = partners[c]
        if c in touched or p in touched:
            continue
        h = next((h for h in heavy if h not in touched and h not in (c, p)), None)
        if h is None or sizes[h] < 2 or costs[c] >= 0.25 * distortions[h]:
            break
        anchors[p] = (sizes[c] * anchors[c] + sizes[p] * anchors[p]) / max(1.0, sizes[c] + sizes[p])
        if sizes[c] + sizes[p] == 0:
            anchors[p] = anchors[h]
        step = 0.5 * (points[farthest[h]] - anchors[h])
        anchors[c], anchors[h] = anchors[h] + step, anchors[h] - step
        touched.update((c, p, h))
        moves += 1
    return anchors


def fit_anchors(
    points: torch.Tensor,
    count: int,
    *,
    seed: int,
    steps: int,
    trim: float = 0.0,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Learn the anchors.

    Parameters
    ----------
    points : tensor of shape (n, d)
        At least one row.
    count : int
        Anchors wanted; fewer come back if there are fewer distinct points.
    seed, steps : int
        Random state and annealing steps.
    trim : float
        Share of a cell's rows, the farthest, that its mean leaves out while annealing.
    start : tensor of shape (count, d), optional
        First anchors; without them, random points.

    Returns
    -------
    tensor of shape (m, d), 1 ≤ m ≤ count
        No anchor is without points.
    """
    rng = np.random.default_rng(seed)
    limit = TRAIN_ROWS_PER_ANCHOR * count
    if len(points) > limit:
        chosen = np.sort(rng.choice(len(points), limit, replace=False))
        points = points[torch.from_numpy(chosen).to(points.device)]
    count = min(count, len(points))
    if start is None:
        chosen = np.sort(rng.choice(len(points), count, replace=False))
        anchors = points[torch.from_numpy(chosen).to(points.device)].clone()
    else:
        anchors = start.clone()
    cell, squared = assign(points, anchors)
    for step in range(steps):
        temperature = max(0.0, 1 - (step + 1) / max(1, steps - 2))
        share = trim if temperature > 0 else 0.0
        anchors = trimmed_means(points, cell, squared, anchors, share)
        if temperature > 0:
            noise = rng.standard_normal(anchors.shape, dtype=np.float32)
            rms = float(squared.mean().sqrt()) / math.sqrt(anchors.shape[1])
            shake = torch.from_numpy(noise).to(anchors.device)
            anchors = anchors + SHAKE * temperature * rms * shake
        elif step == steps - 2 and len(anchors) > 2:
            anchors = merge_and_split(points, anchors, cell, squared)
        cell, squared = assign(points, anchors)
    anchors, size = cell_means(points, cell, anchors)
    return anchors[size > 0]
