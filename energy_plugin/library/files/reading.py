"""What a file says, by its suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.library.files import pages, prose, records
from energy_plugin.library.files.part import Part


def parts_of(path: Path, data: bytes) -> list[Part]:
    """The parts of a file: one for prose, one a row or page, none for an empty file.

    Parameters
    ----------
    path : Path
        Its suffix decides how `data` is read.
    data : bytes
        The file's content.

    Raises
    ------
    InvalidInputError
        The content is not what the suffix promises, or not in UTF-8 or UTF-16.
    """
    try:
        parts = READERS[path.suffix.lower()](path, data)
    except (EnergyPluginError, OSError, MemoryError):
        raise
    except Exception as error:  # one odd file does not end the reading of a folder
        raise InvalidInputError(f"{path}: cannot be read: {error!r}"[:500]) from error
    found = [part if part.picture else replace(part, text=_storable(part.text)) for part in parts]
    return [part for part in found if part.text or part.picture]


def texts_of(path: Path, data: bytes) -> list[str]:
    """The texts of `parts_of`, pictures left out."""
    return [part.text for part in parts_of(path, data) if not part.picture]


def _storable(text: str) -> str:
    """Without what databases refuse: zero characters and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()


READERS: dict[str, Callable[[Path, bytes], list[Part]]] = {
    **dict.fromkeys((".txt", ".text", ".log"), prose.plain),
    **dict.fromkeys((".md", ".markdown"), prose.markdown),
    **dict.fromkeys((".rst",), prose.restructured),
    **dict.fromkeys((".html", ".htm", ".xhtml"), prose.html),
    ".docx": prose.word,
    **dict.fromkeys((".csv", ".tsv"), records.table),
    **dict.fromkeys((".jsonl", ".ndjson"), records.json_lines),
    ".json": records.json_file,
    ".pdf": pages.pdf,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"), pages.image),
}
PAGED = frozenset({".pdf", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
SUFFIXES = frozenset(READERS)
