"""Boxes of a page that show light letters on a dark ground: turned to dark on light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_DARK = 0.55  # of the paper's light
_LEAST_SIDE, _LEAST_AREA = 3, 24  # coarse pixels
_FILLED = 0.75  # of the box around a dark area: a box, and no heavy letter


def lighted(
    page: Image, coarse: NDArray[np.float32], factor: int
) -> tuple[Image, NDArray[np.float32]]:
    """A page whose dark boxes are light, with what stands in them dark.

    Parameters
    ----------
    page : Image
        Grey, dark on light as a whole.
    coarse : ndarray of shape (h, w), float32
        The page, scaled down.
    factor : int
        How far.

    Returns
    -------
    page : Image
        The one given where it has no such box.
    coarse : ndarray of shape (h, w), float32
    """
    from scipy import ndimage

    paper = float(np.percentile(coarse, 90))
    dark = coarse < _DARK * paper
    if np.count_nonzero(dark) < _LEAST_AREA:
        return page, coarse
    labels, _ = ndimage.label(ndimage.binary_closing(dark, np.ones((3, 3), bool)))
    changed = False
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = (part.stop - part.start for part in found)
        if min(rows, columns) < _LEAST_SIDE or rows * columns < _LEAST_AREA:
            continue
        inside = labels[found] == number
        if inside.mean() < _FILLED:
            continue
        if not changed:
            page, changed = page.copy(), True
        box = (
            *(found[1].start * factor, found[0].start * factor),
            *(min(found[1].stop * factor, page.width), min(found[0].stop * factor, page.height)),
        )
        part = page.crop(box)
        ground = int(np.median(np.asarray(part)))
        shades = np.arange(256)
        turned = paper - np.clip(shades - ground, 0, None) * (paper / max(255 - ground, 1))
        page.paste(part.point(np.clip(turned, 0, 255).astype(int).tolist()), box)
    return page, np.asarray(page.reduce(factor), np.float32) if changed else coarse
