"""Columns of a page: letters parted by white gaps, in reading order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.letters import Letters

_GUTTER = 1.3  # letter heights: wider than spaces that happen to meet
_LEAST_WIDTH = 6.0  # letter heights of a column
_LEAST_HEIGHT = 5.0
_TRIED = 12  # gaps between rows, largest first
_DEEPEST = 8


def columns(letters: Letters) -> list[Letters]:
    """Blocks of text in reading order: above before below, left before right.

    A recursive cut along white gaps ("XY cut", Nagy and Seth 1984), upright ones first.
    """
    return _cut(letters, 0) if len(letters) else []


def _gaps(
    starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """White gaps between intervals: where they begin and end, ascending."""
    order = np.argsort(starts)
    reach = np.maximum.accumulate(ends[order])
    begin, end = reach[:-1], starts[order][1:]
    free = end > begin
    return begin[free], end[free]


def _gutters(letters: Letters) -> list[float]:
    """Middles of upright gaps that part columns."""
    size = letters.height
    if letters.bottom.max() - letters.top.min() < _LEAST_HEIGHT * size:
        return []
    begin, end = _gaps(letters.left, letters.right)
    found = []
    for a, b in zip(begin, end, strict=True):
        if b - a < _GUTTER * size:
            continue
        sides = (letters.right <= a + 1e-9, letters.left >= b - 1e-9)
        if all(
            np.ptp(np.concatenate([letters.left[side], letters.right[side]])) > _LEAST_WIDTH * size
            and np.ptp(np.concatenate([letters.top[side], letters.bottom[side]])) > 2.5 * size
            for side in sides
        ):
            found.append((a + b) / 2)
    return found


def _cut(letters: Letters, depth: int) -> list[Letters]:
    if depth >= _DEEPEST:
        return [letters]
    gutters = _gutters(letters)
    if gutters:
        middle = (letters.left + letters.right) / 2
        place = np.searchsorted(gutters, middle)
        return [
            block
            for column in range(len(gutters) + 1)
            if (place == column).any()
            for block in _cut(letters.taken(place == column), depth + 1)
        ]
    begin, end = _gaps(letters.top, letters.bottom)
    wide = np.argsort(begin - end, kind="stable")[:_TRIED]
    for row in wide:
        parts = [
            letters.taken(letters.bottom <= begin[row] + 1e-9),
            letters.taken(letters.top >= end[row] - 1e-9),
        ]
        if any(len(part) and _gutters(part) for part in parts):
            return [block for part in parts if len(part) for block in _cut(part, depth + 1)]
    return [letters]
