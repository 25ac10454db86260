"""Pages of PDF files and images: text where a page has it, else a picture."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.part import Part

if TYPE_CHECKING:
    from PIL import Image

DPI = 150
MOST_PIXELS = 40_000_000  # of a picture that is looked at; larger pages are drawn smaller
_MOST_STORED = 400_000_000  # pixels of an image file that is opened at all
_FEW = 25  # characters beside a picture that are a stamp and not the page's text


def pdf(path: Path, data: bytes) -> list[Part]:
    """A part a page; pages without a text layer are pictures.

    Raises
    ------
    InvalidInputError
        Encrypted, truncated, or not a PDF.
    """
    if not data.strip():
        return []
    with _document(path, data) as document:
        return [_page(path, document, number) for number in range(len(document))]


def _page(path: Path, document: Any, number: int) -> Part:
    try:
        page = document[number]
        text = page.get_textpage().get_text_bounded()
    except Exception as error:  # pdfium has one kind for all
        raise InvalidInputError(f"{path}, page {number + 1}: cannot be read: {error}") from error
    text = text.replace("\r\n", "\n").replace("\ufffe\n", "").replace("\ufffe", "")
    seen = len("".join(text.split()))
    if seen < _FEW and _has_picture(page):
        return Part("", page=number + 1, picture=True)
    return Part(text, page=number + 1)


def _has_picture(page: Any) -> bool:
    return any(each.type in {3, 2} for each in page.get_objects(max_depth=3))  # image, path


@contextmanager
def _document(path: Path, data: bytes) -> Iterator[Any]:
    pdfium = optional("pypdfium2", "cli")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        said = str(error).lower()
        if "password" in said or "security" in said:
            raise InvalidInputError(
                f"{path}: is encrypted. Save a copy without a password and index that."
            ) from error
        raise InvalidInputError(f"{path}: cannot be read as PDF: {error}") from error
    try:
        yield document
    finally:
        document.close()


def image(path: Path, data: bytes) -> list[Part]:
    """A picture a frame of an image file.

    Raises
    ------
    InvalidInputError
        Truncated, too large, or not an image.
    """
    if not data:
        return []
    with _image(path, data) as opened:
        count = (
            int(getattr(opened, "n_frames", 1)) if path.suffix.lower() in (".tif", ".tiff") else 1
        )
        for number in range(count):
            _frame(path, opened, number)
    return [Part("", page=number + 1, picture=True) for number in range(count)]


def picture(path: Path, data: bytes, page: int, *, dpi: int = DPI) -> Image.Image:
    """A page as it is seen: RGB, upright, at most `MOST_PIXELS` pixels.

    Parameters
    ----------
    path : Path
    data : bytes
    page : int
        From 1.
    dpi : int, default 150
        Of a PDF page; less where it is huge.

    Raises
    ------
    InvalidInputError
        The page cannot be drawn.
    """
    if path.suffix.lower() == ".pdf":
        with _document(path, data) as document:
            return _drawn(path, document, page - 1, dpi)
    with _image(path, data) as opened:
        return _frame(path, opened, page - 1)


def _drawn(path: Path, document: Any, number: int, dpi: int) -> Image.Image:
    try:
        page = document[number]
        width, height = page.get_size()
        scale = dpi / 72
        scale = min(scale, 0.999 * math.sqrt(MOST_PIXELS / max(width * height, 1.0)))
        scale = min(scale, 20_000 / max(width, height, 1.0))
        drawn: Image.Image = page.render(scale=scale).to_pil()
        return drawn.convert("RGB")
    except Exception as error:  # pdfium has one kind for all
        raise InvalidInputError(f"{path}, page {number + 1}: cannot be drawn: {error}") from error


@contextmanager
def _image(path: Path, data: bytes) -> Iterator[Image.Image]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is looked at below
            opened = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise InvalidInputError(f"{path}: has too many pixels: {error}") from error
    except Exception as error:  # Pillow raises many kinds on broken files
        raise InvalidInputError(f"{path}: cannot be read as an image.") from error
    with opened:
        yield opened


def _frame(path: Path, opened: Image.Image, number: int) -> Image.Image:
    from PIL import Image, ImageOps

    try:
        opened.seek(number)
        width, height = opened.size
        if width * height > _MOST_STORED:
            raise ValueError(f"{width:,} × {height:,} pixels, at most {_MOST_STORED:,} are read")
        shrink = math.sqrt(MOST_PIXELS / (width * height))
        if shrink < 1 and opened.format == "JPEG":
            opened.draft("RGB", (int(width * shrink), int(height * shrink)))
        seen = ImageOps.exif_transpose(opened)
        seen = _on_white(seen)
        if shrink < 1:
            seen.thumbnail((int(width * shrink), int(height * shrink)), Image.Resampling.BOX)
        return seen
    except Exception as error:  # Pillow raises many kinds on broken files
        raise InvalidInputError(
            f"{path}: cannot be read as an image{f', page {number + 1}' if number else ''}: {error}"
        ) from error


def _on_white(seen: Any) -> Image.Image:
    """RGB; what is transparent is white, and 16 bits become 8."""
    from PIL import Image

    if seen.mode.startswith(("I", "F")):
        seen = seen.convert("F")
        low, high = seen.getextrema()
        scale = 255 / (high - low) if high > low else 0.0
        return seen.point(lambda value: value * scale - low * scale).convert("RGB")
    if "A" in seen.getbands() or "transparency" in seen.info:
        seen = seen.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        seen = Image.alpha_composite(white, seen)
    return seen.convert("RGB")
