"""Small pictures of pages, for documents that are pages."""

from __future__ import annotations

import io
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.pages import picture
from energy_plugin.library.files.reading import PAGED

WIDTH, HEIGHT = 220, 300  # pixels at most
_MOST = 60  # pictures of one report
_DPI = 60


class Thumbnails:
    """Draws pages of the indexed folder, each once.

    Parameters
    ----------
    folder : Path or None
        Where the files are; None where nobody noted it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._drawn: dict[tuple[str, int], bytes | None] = {}

    def of(self, where: tuple[str, int] | None) -> bytes | None:
        """JPEG of a page; None where it is not a page, or the file is gone."""
        if where is None or self._folder is None:
            return None
        if where not in self._drawn:
            full = sum(each is not None for each in self._drawn.values()) >= _MOST
            self._drawn[where] = None if full else self._draw(*where)
        return self._drawn[where]

    def _draw(self, source: str, page: int) -> bytes | None:
        assert self._folder is not None
        path = self._folder / source
        inside = path.resolve().is_relative_to(self._folder.resolve())
        if not inside or path.suffix.lower() not in PAGED:
            return None
        try:
            seen = picture(path, path.read_bytes(), page, dpi=_DPI)
        except (InvalidInputError, OSError):  # gone or changed since
            return None
        seen.thumbnail((WIDTH, HEIGHT))
        out = io.BytesIO()
        seen.save(out, format="JPEG", quality=80)
        return out.getvalue()
