"""Pages with even paper: dark on light, uneven light and show of the paper taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.boxes import lighted
from energy_plugin.optical.printed.strips import PAPER

if TYPE_CHECKING:
    from PIL.Image import Image

_CELL = 4  # pixels a side that are lightened alike
_BLOCK = 8  # pixels a side of what the paper is measured in
_REACH = 7  # blocks: wider than the strokes of a heading
_SHIFT = 6
_UNIT = 1 << _SHIFT  # of gains: 1.0
_ENOUGH = 1 << 20  # pixels that tell the shades of a page
LEAST_CONTRAST = 24  # grey levels between paper and ink


def even(page: Image) -> tuple[NDArray[np.uint8], Image]:
    """Ink of a page, and the page on even paper.

    Parameters
    ----------
    page : Image
        Grey, of any light and either polarity.

    Returns
    -------
    ink : ndarray of shape (h, w), uint8
        0 where there is paper, 255 where it is darkest.
    evened : Image
        Dark on light, paper near `PAPER`.
    """
    from PIL import Image as PilImage
    from scipy import ndimage

    factor = max(1, min(_BLOCK, min(page.size) // 8))
    coarse = np.asarray(page.reduce(factor), np.float32)
    low, middle, high = np.percentile(coarse, (0.2, 50, 99.8))
    if high - middle > middle - low + LEAST_CONTRAST / 2:  # light on dark
        page = page.point([255 - value for value in range(256)])
        coarse = 255 - coarse
    page, coarse = lighted(page, coarse, factor)
    reach = min(_REACH, 2 * (min(coarse.shape) // 2) + 1)
    paper = ndimage.maximum_filter(ndimage.uniform_filter(coarse, 2), reach)
    paper = ndimage.uniform_filter(paper, reach)
    top = float(np.percentile(paper, 90))
    gain = np.minimum(PAPER / np.maximum(paper, 0.35 * top + 1), 255 / _UNIT)
    steps = (gain * _UNIT).astype(np.uint8)
    if (steps == steps[0, 0]).all():  # a page that no scanner saw
        gains = np.minimum(np.arange(256) * int(steps[0, 0]) >> _SHIFT, 255)
        evened = page.point(gains.tolist())
    else:
        size = (-(-page.width // _CELL), -(-page.height // _CELL))
        cells = PilImage.fromarray(steps).resize(size, PilImage.Resampling.BILINEAR)
        wide = np.asarray(cells).repeat(_CELL, 0).repeat(_CELL, 1)[: page.height, : page.width]
        grey = np.multiply(np.asarray(page), wide, dtype=np.uint16)
        np.minimum(np.right_shift(grey, _SHIFT, out=grey), 255, out=grey)
        evened = PilImage.fromarray(grey.astype(np.uint8))
    step = 1 + page.width * page.height // _ENOUGH
    some = PilImage.fromarray(np.asarray(evened)[::step])
    levels = np.cumsum(some.histogram()).astype(np.float64)
    levels /= levels[-1]
    paper_at = int(np.searchsorted(levels, 0.5))
    noise = paper_at - int(np.searchsorted(levels, 0.16))  # one standard deviation, or ink
    dark = int(np.searchsorted(levels, min(0.01, 0.25 * levels[max(0, paper_at - 40)])))
    start = paper_at - max(12, min(4 * noise, (paper_at - dark) // 3))
    if start - dark < LEAST_CONTRAST:
        return np.zeros((page.height, page.width), np.uint8), evened
    table = np.clip((start - np.arange(256)) * (255 / (start - dark)), 0, 255).astype(np.uint8)
    return np.asarray(evened.point(table.tolist())), evened
