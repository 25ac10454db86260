"""Images as documents: pictures and page scans, cut into tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.typeset import TILE_SIDE, cut_tiles

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SIDE = 1024


def image_tiles(image: Image | NDArray[np.uint8] | str | Path, position: int) -> NDArray[np.uint8]:
    """Tiles of one image, in reading order, blank ones at the end left out.

    Sides that are no multiple of 64 px are filled up with paper; an image larger than
    1024 px is scaled down first, its proportions kept.

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8
        Grey levels; at least one tile.
    """
    from PIL import Image as PilImage

    if isinstance(image, str | Path):
        with PilImage.open(image) as opened:
            grey = opened.convert("L")
    elif isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
            raise InvalidInputError(
                f"images[{position}] is an array of {image.dtype} and shape {image.shape}, "
                "expected uint8 of shape (height, width) or (height, width, 3)"
            )
        grey = PilImage.fromarray(image).convert("L")
    elif isinstance(image, PilImage.Image):
        grey = image.convert("L")
    else:
        raise InvalidInputError(
            f"images[{position}] is {type(image).__name__}, "
            "expected a PIL image, a uint8 array or a path"
        )
    if max(grey.size) > LARGEST_SIDE:
        grey.thumbnail((LARGEST_SIDE, LARGEST_SIDE), PilImage.Resampling.BICUBIC)
    width, height = (-(-side // TILE_SIDE) * TILE_SIDE for side in grey.size)
    pixels = np.full((height, width), 255, np.uint8)
    pixels[: grey.height, : grey.width] = np.asarray(grey)
    tiles = cut_tiles(pixels)
    inked = np.flatnonzero((tiles < 255).any(axis=(1, 2)))
    if not len(inked):
        raise InvalidInputError(f"images[{position}] is blank; leave it out")
    return tiles[: inked[-1] + 1]
