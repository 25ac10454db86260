"""Sentences as pictures: what reading them keeps of the similarity of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH = 24  # of a picture, in font sizes
_LEADING = 1.35
_AT_ONCE = 128


def pictures(texts: Sequence[str], fonts: Sequence[Path], size: int) -> list[Image]:
    """Each text set in black on white; the fonts take turns.

    Parameters
    ----------
    texts : sequence of str
    fonts : sequence of Path
        TrueType or OpenType files.
    size : int
        Pixels.

    Raises
    ------
    InvalidInputError
        There is no font, or one cannot be read.
    """
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    size = as_k(size, name="size")
    try:
        faces = [ImageFont.truetype(str(path), size) for path in fonts]
    except OSError as error:
        raise InvalidInputError(
            f"{[str(path) for path in fonts]} cannot all be read as fonts: {error}. "
            "Name .ttf or .otf files"
        ) from error
    if not faces:
        raise InvalidInputError("no font is named, expected at least one .ttf or .otf file")
    margin, step = 2 * size, round(_LEADING * size)
    out = []
    for number, text in enumerate(texts):
        face = faces[number % len(faces)]
        lines = _lines(text, face, (_WIDTH - 4) * size)
        page = PilImage.new("L", (_WIDTH * size, 2 * margin + step * len(lines)), 255)
        draw = ImageDraw.Draw(page)
        for row, line in enumerate(lines):
            draw.text((margin, margin + row * step), line, font=face, fill=0)
        out.append(page)
    return out


def picture_vectors(
    encoder: Any, texts: Sequence[str], fonts: Sequence[Path], size: int
) -> tuple[NDArray[np.float32], int]:
    """Vectors (n, d) of texts as pictures, zeros where nothing is read; and how many those are."""
    out = []
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        shift = start % len(fonts) if fonts else 0
        turned = [*fonts[shift:], *fonts[:shift]]
        out.append(encoder.encode_and_read(pictures(some, turned, size))[0])
    vectors = np.concatenate(out)
    return vectors, int((~vectors.any(axis=1)).sum())


def _lines(text: str, face: Any, width: int) -> list[str]:
    """A text in lines of at most so many pixels, words kept whole."""
    out: list[str] = []
    for word in text.split():
        if out and face.getlength(f"{out[-1]} {word}") <= width:
            out[-1] += f" {word}"
        else:
            out.append(word)
    return out
