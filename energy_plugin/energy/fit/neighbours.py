"""Nearest rows of rows by cosine: exact in blocks, or inside own and adjacent cells."""

from __future__ import annotations

import torch

from energy_plugin.energy.blocks import blocks

EXACT_ROWS = 8192  # up to here every pair is compared
ADJACENT_CELLS = 24  # cells that a row looks into in larger collections, its own included


def neighbour_count(n: int, k: int) -> int:
    """k, but at most one row in eight: a small collection must not melt into one."""
    return max(0, min(k, max(1, n // 8), n - 1))


def exact_neighbours(points: torch.Tensor, k: int) -> torch.Tensor:
    """The k rows of highest inner product, without the row itself; (n, k) int64."""
    n = len(points)
    found = []
    for part in blocks(n, n):
        similarity = points[part] @ points.T  # (b, n)
        own = torch.arange(part.start, part.stop, dtype=torch.int64, device=points.device)
        similarity[
            torch.arange(len(own), dtype=torch.int64, device=points.device), own
        ] = -torch.inf
        found.append(similarity.topk(k, dim=1).indices)
    return torch.cat(found)


def adjacent_cells(anchors: torch.Tensor, some: slice = slice(None)) -> torch.Tensor:
    """Cells nearest to each of some cells, itself first; (c, `ADJACENT_CELLS` or m) int64."""
    asked, count = anchors[some], min(len(anchors), ADJACENT_CELLS)
    parts = blocks(len(asked), len(anchors))  # all distances at once would take m² floats
    found = [
        torch.cdist(asked[part], anchors).topk(count, 1, largest=False).indices for part in parts
    ]
    return torch.cat(found)


def cell_neighbours(
    points: torch.Tensor, k: int, cell: torch.Tensor, anchors: torch.Tensor
) -> torch.Tensor:
    """As `exact_neighbours`, but only rows of the own and the adjacent cells are compared.

    Where the cells hold fewer than k other rows, the row repeats itself, which adds nothing
    to a graph.
    """
    m = len(anchors)
    adjacent = adjacent_cells(anchors)
    order = torch.argsort(cell, stable=True)
    ends = torch.bincount(cell, minlength=m).cumsum(0).tolist()
    members = [order[(ends[c - 1] if c else 0) : ends[c]] for c in range(m)]
    found = torch.arange(len(points), dtype=torch.int64, device=points.device)[:, None].repeat(1, k)
    for c, near in enumerate(adjacent.tolist()):
        rows = members[c]
        if len(rows) == 0:
            continue
        others = torch.cat([members[a] for a in near])
        similarity = points.index_select(0, rows) @ points.index_select(0, others).T
        if c in near:  # copies of an anchor may push it out
            before = sum(len(members[a]) for a in near[: near.index(c)])
            similarity[:, before : before + len(rows)].fill_diagonal_(-torch.inf)
        best = similarity.topk(min(k, len(others)), dim=1)
        real = best.values > -torch.inf
        mine = found[rows]
        mine[:, : best.indices.shape[1]] = torch.where(
            real, others[best.indices], mine[:, : best.indices.shape[1]]
        )
        found[rows] = mine
    return found
