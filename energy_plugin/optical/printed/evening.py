"""Pages with even paper: dark on light, uneven light and show of the paper taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.strips import PAPER

if TYPE_CHECKING:
    from PIL.Image import Image

_BLOCK = 8  # pixels a side of what the paper is measured in
_REACH = 7  # blocks: wider than the strokes of a heading
_UNIT = 64  # of gains: 1.0
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
    low, high = np.percentile(coarse, (1, 99))
    if np.median(coarse) < (low + high) / 2:  # light on dark
        page = page.point([255 - value for value in range(256)])
        coarse = 255 - coarse
    reach = min(_REACH, 2 * (min(coarse.shape) // 2) + 1)
    paper = ndimage.maximum_filter(ndimage.uniform_filter(coarse, 2), reach)
    paper = ndimage.uniform_filter(paper, reach)
    top = float(np.percentile(paper, 90))
    gain = np.minimum(PAPER / np.maximum(paper, 0.35 * top + 1), 255 / _UNIT)
    gains = PilImage.fromarray((gain * _UNIT).astype(np.uint8))
    gains = gains.resize(page.size, PilImage.Resampling.BILINEAR)
    grey = np.asarray(page).astype(np.uint16)
    grey *= np.asarray(gains)
    grey >>= _UNIT.bit_length() - 1
    evened = PilImage.fromarray(np.minimum(grey, 255).astype(np.uint8))
    levels = np.cumsum(evened.histogram()) / (page.width * page.height)
    paper_at = int(np.searchsorted(levels, 0.5))
    noise = paper_at - int(np.searchsorted(levels, 0.16))  # one standard deviation, or ink
    dark = int(np.searchsorted(levels, min(0.01, 0.25 * levels[max(0, paper_at - 40)])))
    start = paper_at - max(12, min(4 * noise, (paper_at - dark) // 3))
    if start - dark < LEAST_CONTRAST:
        return np.zeros((page.height, page.width), np.uint8), evened
    table = np.clip((start - np.arange(256)) * (255 / (start - dark)), 0, 255).astype(np.uint8)
    return np.asarray(evened.point(table.tolist())), evened
