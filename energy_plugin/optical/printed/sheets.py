"""Pictures of any kind as grey pages of bounded size."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 1 << 29  # of a file: 0.5 to 2 GB while it is scaled down
LONGEST_SIDE = 5000  # of a page that is looked at
_NOT_THIS_KIND = (
    *(SyntaxError, IndexError, TypeError, KeyError, EOFError, ValueError, OSError, struct.error),
)
_OF_PAPER = ("LA", "PA", "RGBA", "RGBa", "La")


def sheet(picture: Any, name: str) -> Image:
    """A picture as a grey page, upright, what is transparent white.

    Parameters
    ----------
    picture : PIL image, (h, w), (h, w, 3) or (h, w, 4) array of numbers, or path
    name : str
        What messages call it.

    Raises
    ------
    InvalidInputError
        It cannot be read, is not a picture, is empty, or has several frames or too many pixels.
    """
    from PIL import Image as PilImage

    if isinstance(picture, str | Path):
        return _of_file(Path(picture), name)
    if isinstance(picture, np.ndarray):
        return _grey(_of_array(picture, name))
    if isinstance(picture, PilImage.Image):
        if not min(picture.size):
            raise InvalidInputError(f"{name} has {picture.size} px; leave it out")
        try:
            return _grey(picture)
        except (OSError, ValueError, SyntaxError) as error:
            raise InvalidInputError(f"{name} cannot be read as an image: {error}") from error
    raise InvalidInputError(
        f"{name} is {type(picture).__name__}, expected a PIL image, a uint8 array or a path"
    )


def _of_file(path: Path, name: str) -> Image:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _opened(file, path, name)
            with image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise InvalidInputError(
                        f"{name} is {str(path)!r}, which has {frames} frames, expected one page; "
                        "pass its frames one by one (PIL.ImageSequence)"
                    )
                image.draft("L", (LONGEST_SIDE, LONGEST_SIDE))
                image.load()
                return _grey(image)
    except InvalidInputError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        EOFError,
        IndexError,
        struct.error,
    ) as error:
        raise InvalidInputError(
            f"{name} is {str(path)!r}, which cannot be read as an image: {error}"
        ) from error


def _opened(file: Any, path: Path, name: str) -> Image:
    """An image file; its own bound in place of Pillow's, which refuses large scans."""
    from PIL import Image as PilImage
    from PIL import UnidentifiedImageError

    PilImage.init()
    head = file.read(16)
    for kind in PilImage.ID:
        factory, accept = PilImage.OPEN[kind]
        file.seek(0)
        try:
            accepted = accept is None or accept(head)
            if not accepted or isinstance(accepted, str):
                continue
            image = factory(file, str(path))
        except _NOT_THIS_KIND:
            continue
        if not min(image.size):
            raise InvalidInputError(f"{name} is {str(path)!r}, which has {image.size} px")
        if image.width * image.height * len(image.getbands()) > MOST_PIXELS * 3:
            raise InvalidInputError(
                f"{name} is {str(path)!r} of {image.width:,}×{image.height:,} px, more than the "
                f"maximum of {MOST_PIXELS:,}; scan it at a lower resolution"
            )
        return image
    raise UnidentifiedImageError("not an image format that Pillow reads")


def _of_array(array: NDArray[Any], name: str) -> Image:
    from PIL import Image as PilImage

    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    bounds = (
        (array.min(), array.max()) if fits and array.size and array.dtype.kind in "biuf" else ()
    )
    most = 1 if array.dtype.kind == "b" else 65535
    if not bounds or not 0 <= bounds[0] <= bounds[1] <= most:  # nor one that is not a number
        raise InvalidInputError(
            f"{name} is an array of {array.dtype} and shape {array.shape}, expected shades from 0 "
            "to 255, to 65535 or as fractions of 1, of shape (height, width) or (height, width, 3)"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        array = (
            array * (255 if bounds[1] <= 1 else 1 if bounds[1] <= 255 else 255 / 65535)
        ).astype(np.uint8)
    elif array.dtype != np.uint8:
        array = (array >> 8 if bounds[1] > 255 else array).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return PilImage.fromarray(np.ascontiguousarray(array))


def _grey(image: Image) -> Image:
    from PIL import Image as PilImage
    from PIL import ImageOps

    factor = -(-max(image.size) // LONGEST_SIDE)
    if image.mode.startswith(("I", "F")):
        deep = np.asarray(image.reduce(factor) if factor > 1 and image.mode in "IF" else image)
        image = _shallow(deep)
        factor = -(-max(image.size) // LONGEST_SIDE)
    if image.mode in ("P", "1") or (image.mode == "L" and "transparency" in image.info):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "RGB" and "transparency" in image.info:
        image = image.convert("RGBA")
    turned = image.getexif().get(0x0112, 1)
    if factor > 1:
        image = image.reduce(factor)
    if image.mode in _OF_PAPER:
        seen = image.convert("RGBA")
        image = PilImage.alpha_composite(PilImage.new("RGBA", seen.size, "white"), seen)
    image = image.convert("L")
    if turned != 1:
        image.getexif()[0x0112] = turned
        image = ImageOps.exif_transpose(image)
    return image


def _shallow(deep: NDArray[Any]) -> Image:
    """Sixteen and more bits to eight, by what the picture holds."""
    from PIL import Image as PilImage

    values = np.nan_to_num(np.asarray(deep, np.float32))
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return PilImage.fromarray(((values - low) * (255 / (high - low))).astype(np.uint8))
