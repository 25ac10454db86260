"""How far a page is turned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 6.0  # degrees to either side
_SLICES = 32
_STEPS = ((0.4, MOST, 2), (0.1, 0.4, 1), (0.03, 0.1, 1))  # degrees, reach, rows at once


def skew(ink: NDArray[np.uint8]) -> float:
    """Angle of the text lines in degrees, positive where they fall to the right.

    The sums of rows are most uneven where rows run along the lines ("projection profile",
    Baird 1987). A page is cut into upright slices, whose sums are moved against each other.

    Parameters
    ----------
    ink : ndarray of shape (h, w), uint8
    """
    height, width = ink.shape
    if height < 40 or width < 2 * _SLICES:
        return 0.0
    size = width // _SLICES
    cut = ink[:, : size * _SLICES].reshape(height, _SLICES, size)
    slices = cut.sum(axis=2, dtype=np.float32).T  # (slices, h)
    inked = np.flatnonzero(slices.any(axis=0))
    if not len(inked):
        return 0.0
    slices = slices[:, inked[0] : inked[-1] + 1]
    middle = (np.arange(_SLICES) - (_SLICES - 1) / 2) * size
    best = 0.0
    for step, reach, rows in _STEPS:
        coarse = np.add.reduceat(slices, np.arange(0, slices.shape[1], rows), axis=1)
        angles = best + np.arange(-reach, reach + step / 2, step)
        angles = angles[np.abs(angles) <= MOST]
        scores = [_unevenness(coarse, middle / rows, float(angle)) for angle in angles]
        best = float(angles[int(np.argmax(scores))])
    return best


def _unevenness(slices: NDArray[np.float32], middle: NDArray[np.float64], angle: float) -> float:
    """Sum of the squared steps of the profile across lines that fall by an angle."""
    shift = np.rint(np.tan(np.radians(angle)) * middle).astype(int)
    shift -= shift.min()
    count = slices.shape[1]
    profile = np.zeros(count + int(shift.max()), np.float32)
    most = int(shift.max())
    for row, step in zip(slices, shift, strict=True):
        profile[most - step : most - step + count] += row
    return float(np.square(np.diff(profile)).sum())
