"""Images as documents: pictures and page scans, as they are handed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Union["Image", NDArray[np.uint8], str, Path]


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


def as_documents(documents: Sequence[Sequence[Picture]]) -> list[list[Picture]]:
    """Check that there are several documents of pages each.

    Raises
    ------
    InvalidInputError
        It is one image or one sequence of images, or a document has no page.
    """
    out = []
    for position, pages in enumerate(as_pictures(documents)):  # type: ignore[arg-type]
        if isinstance(pages, str | Path | np.ndarray) or not isinstance(pages, Iterable):
            raise InvalidInputError(
                f"documents[{position}] is {type(pages).__name__}, expected a list of its pages; "
                "encode_images takes single pages"
            )
        out.append(list(pages))
        if not out[-1]:
            raise InvalidInputError(f"documents[{position}] has no page; leave it out")
    return out
