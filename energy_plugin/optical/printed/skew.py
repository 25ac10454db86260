"""How far a page is turned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 6.0  # degrees to either side
_SLICES = 32
_COARSE, _FINE = 0.25, 0.04


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
    slices = np.minimum(cut, 255).sum(axis=2, dtype=np.float32).T  # (slices, h)
    middle = (np.arange(_SLICES) - (_SLICES - 1) / 2) * size
    padding = int(np.ceil(np.tan(np.radians(MOST)) * width / 2)) + 2
    padded = np.pad(slices, ((0, 0), (padding, padding)))
    rows = np.arange(height)[None, :] + padding

    def unevenness(angle: float) -> float:
        shift = np.rint(np.tan(np.radians(angle)) * middle).astype(int)
        profile = np.take_along_axis(padded, rows + shift[:, None], axis=1).sum(axis=0)
        return float(np.square(np.diff(profile)).sum())

    best = 0.0
    for step, reach in ((_COARSE, MOST), (_FINE, _COARSE)):
        angles = best + np.arange(-reach, reach + step / 2, step)
        angles = angles[np.abs(angles) <= MOST]
        scores = [unevenness(float(angle)) for angle in angles]
        best = float(angles[int(np.argmax(scores))])
    return best
