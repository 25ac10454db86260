"""Text of page pictures, by engines that others keep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL import Image

Ocr = Callable[["Image.Image"], str]
ENGINES = ("rapidocr", "tesseract")


def load_ocr(engine: str) -> Ocr:
    """Load an engine that gives the text of a picture, a line a line.

    Parameters
    ----------
    engine : {"rapidocr", "tesseract"}

    Raises
    ------
    InvalidInputError
        Another name, or the program of tesseract is not installed.
    OptionalDependencyError
        The extra ``ocr`` is not installed.
    """
    if engine == "rapidocr":
        return _rapidocr()
    if engine == "tesseract":
        return _tesseract()
    raise InvalidInputError(f"--ocr is {engine!r}, expected one of {', '.join(ENGINES)}.")


def _rapidocr() -> Ocr:
    import numpy as np

    library = optional("rapidocr", "ocr")
    logging.getLogger("RapidOCR").setLevel(logging.WARNING)
    engine = library.RapidOCR()

    def text_of(image: Image.Image) -> str:
        found = engine(np.asarray(image)[:, :, ::-1])  # it takes blue, green, red
        return "\n".join(found.txts or ())

    return text_of


def _tesseract() -> Ocr:
    library = optional("pytesseract", "ocr")
    try:
        library.get_tesseract_version()
    except library.TesseractNotFoundError as error:
        raise InvalidInputError(
            "--ocr tesseract needs the program tesseract, which is not installed. Install it with "
            "the system's package manager, or use: --ocr rapidocr"
        ) from error

    def text_of(image: Image.Image) -> str:
        return str(library.image_to_string(image)).strip()

    return text_of
