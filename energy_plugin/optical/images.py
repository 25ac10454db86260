"""Images as documents: pictures and page scans, cut into tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.typesetting.tiles import TILE_SIDE, cut_tiles

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SIDE = 1024

Picture: TypeAlias = Union["Image", NDArray[np.uint8], str, Path]


def images_tiles(images: Sequence[Picture]) -> list[NDArray[np.uint8]]:
    """Tiles of each image.

    Raises
    ------
    InvalidInputError
        `images` is one image and not a sequence, or one of them cannot be read.
    """
    return [_image_tiles(image, position) for position, image in enumerate(as_pictures(images))]


def as_pictures(images: Sequence[Picture]) -> list[Picture]:
    """Check that there are several images, or one in a sequence.

    Raises
    ------
    InvalidInputError
        It is one image.
    """
    if isinstance(images, str | Path) or not isinstance(images, Iterable):
        raise InvalidInputError(
            f"images is {type(images).__name__}, expected a sequence: put one image into a list"
        )
    return list(images)


def opened(image: Picture, position: int) -> Image:
    """An image of any of the accepted kinds, read.

    Raises
    ------
    InvalidInputError
        It cannot be read, or is none.
    """
    from PIL import Image as PilImage
    from PIL import UnidentifiedImageError

    if isinstance(image, PilImage.Image):
        return image
    if isinstance(image, str | Path):
        try:
            with PilImage.open(image) as file:
                file.load()
                return file
        except (OSError, UnidentifiedImageError) as error:
            raise InvalidInputError(
                f"images[{position}] is {str(image)!r}, which cannot be read as an image: {error}"
            ) from error
    if isinstance(image, np.ndarray):
        colours = image.shape[2] if image.ndim == 3 else 3
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or colours != 3 or not image.size:
            raise InvalidInputError(
                f"images[{position}] is an array of {image.dtype} and shape {image.shape}, "
                "expected uint8 of shape (height, width) or (height, width, 3)"
            )
        return PilImage.fromarray(image)
    raise InvalidInputError(
        f"images[{position}] is {type(image).__name__}, "
        "expected a PIL image, a uint8 array or a path"
    )


def _image_tiles(image: Picture, position: int) -> NDArray[np.uint8]:
    """Tiles of one image, in reading order, blank ones at the end left out.

    Sides that are no multiple of 64 px are filled up with paper; an image larger than
    1024 px is scaled down first, its proportions kept; what is transparent is paper.

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8
        Grey levels; at least one tile.
    """
    from PIL import Image as PilImage

    found = opened(image, position)
    if not min(found.size):
        raise InvalidInputError(f"images[{position}] has {found.size} px; leave it out")
    if found.has_transparency_data:
        seen = found.convert("RGBA")
        found = PilImage.alpha_composite(PilImage.new("RGBA", seen.size, "white"), seen)
    grey = found.convert("L")
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
