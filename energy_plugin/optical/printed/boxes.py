"""Boxes of a page that show light letters on a dark ground: turned to dark on light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_DARK = 0.55  # of the paper's light
_LEAST_SIDE, _LEAST_LENGTH = 3, 8  # coarse pixels
_INKED = 0.7  # of a box is ground; large heavy letters cover less of their words
_FILLED = 0.6  # of the upright box around a dark area: a box, also askew, and no heavy letter


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
    from PIL import Image as PilImage
    from scipy import ndimage

    paper = float(np.percentile(coarse, 90))
    dark = coarse < _DARK * paper
    if np.count_nonzero(dark) < _LEAST_SIDE * _LEAST_LENGTH:
        return page, coarse
    labels, _ = ndimage.label(ndimage.binary_closing(dark, np.ones((3, 3), bool)))
    changed = False
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        sides = sorted(part.stop - part.start for part in found)
        inside = ndimage.binary_fill_holes(labels[found] == number)
        if sides[0] < _LEAST_SIDE or sides[1] < _LEAST_LENGTH or inside.mean() < _FILLED:
            continue
        shades = coarse[found][inside]
        if paper - shades.mean() < _INKED * (paper - np.percentile(shades, 5)):
            continue
        if not changed:
            page, changed = page.copy(), True
        box = (
            *(found[1].start * factor, found[0].start * factor),
            *(min(found[1].stop * factor, page.width), min(found[0].stop * factor, page.height)),
        )
        part = page.crop(box)
        shown = inside.repeat(factor, 0).repeat(factor, 1)[: part.height, : part.width]
        ground = int(np.median(np.asarray(part)[shown]))
        turned = paper - np.clip(np.arange(256) - ground, 0, None) * (paper / max(255 - ground, 1))
        light = part.point(np.clip(turned, 0, 255).astype(int).tolist())
        page.paste(light, box, PilImage.fromarray(shown.astype(np.uint8) * 255))
        _rimmed(page, labels == number, factor, (ground + paper) / 2, round(paper))
    return page, np.asarray(page.reduce(factor), np.float32) if changed else coarse


def _rimmed(page: Image, inside: NDArray[np.bool_], factor: int, dark: float, paper: int) -> None:
    """Take out what is left of a box in the coarse pixels around it, which it fills in part."""
    from PIL import Image as PilImage
    from scipy import ndimage

    inside = ndimage.binary_fill_holes(inside)
    ring = ndimage.binary_dilation(inside, np.ones((3, 3), bool)) & ~inside
    wide = ring.repeat(factor, 0).repeat(factor, 1)[: page.height, : page.width]
    rim = np.zeros((page.height, page.width), bool)
    rim[: wide.shape[0], : wide.shape[1]] = wide
    rim &= np.asarray(page) < dark
    page.paste(paper, (0, 0), PilImage.fromarray(rim.astype(np.uint8) * 255))
