"""Letters of a page: connected ink, without specks, rules and pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MASK = 90  # ink that counts
_MOST = 60_000  # pieces of a page that is text


@dataclass(frozen=True)
class Letters:
    """Boxes of connected ink.

    Attributes
    ----------
    left, top, right, bottom : ndarray of shape (n,), float64
        Pixels; right and bottom are past the last one.
    height : float
        Of a common letter, in pixels; 0 if there is none.
    rules : ndarray of shape (h, w), bool, or None
        Of a whole page: ink of rules, frames and pictures, where it has any.
    """

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    right: NDArray[np.float64]
    bottom: NDArray[np.float64]
    height: float
    rules: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.left)

    def taken(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Letters:
        """Some of them."""
        return Letters(
            self.left[rows], self.top[rows], self.right[rows], self.bottom[rows], self.height
        )


def letters(ink: NDArray[np.uint8]) -> Letters:
    """Find the letters of a page.

    Parameters
    ----------
    ink : ndarray of shape (h, w), uint8
    """
    from scipy import ndimage

    mask: NDArray[np.bool_] = ink > _MASK
    y0, y1 = _span(np.any(mask, axis=1))
    x0, x1 = _span(np.any(mask[y0:y1], axis=0))
    if not y1:
        return _none()
    labels, count = ndimage.label(mask[y0:y1, x0:x1], np.ones((3, 3), np.int8))
    objects = ndimage.find_objects(labels)
    boxes = np.array(
        [
            (x0 + found[1].start, y0 + found[0].start, x0 + found[1].stop, y0 + found[0].stop)
            for found in objects
        ],
        np.float64,
    ).reshape(-1, 4)
    left, top, right, bottom = boxes.T
    tall, wide = bottom - top, right - left
    likely = (tall >= 4) & (wide >= 2) & (wide < 30 * tall) & (tall < 0.12 * ink.shape[0] + 40)
    if not likely.any() or count > _MOST:
        return _none()
    # Letters are many and alike; the height that most of their area shares is theirs.
    heights = tall[likely]
    weights = np.minimum(wide[likely], 3 * heights)
    order = np.argsort(heights)
    mass = np.cumsum(weights[order])
    height = float(heights[order][np.searchsorted(mass, mass[-1] * 0.45)])
    large = (tall >= 8 * height) | (wide >= 40 * height)
    large |= (tall > 4.5 * height) & (wide < 0.5 * height)  # upright rules
    large |= (wide > 6 * height) & (tall < 0.5 * height)  # level rules
    kept = (tall > max(1.0, 0.4 * height)) & ~large
    rules = None
    if large.any():
        rules = np.zeros(ink.shape, bool)
        for number in np.flatnonzero(large):
            rules[y0:y1, x0:x1][objects[number]] |= labels[objects[number]] == number + 1
    return Letters(left[kept], top[kept], right[kept], bottom[kept], height, rules)


def _none() -> Letters:
    none = np.zeros(0)
    return Letters(none, none, none, none, 0.0)


def _span(shown: NDArray[np.bool_]) -> tuple[int, int]:
    """Where something is shown: the first place and past the last one."""
    places = np.flatnonzero(shown)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
