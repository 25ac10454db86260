"""The files of a folder that can be indexed, with the hash that tells whether they changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.passages import passages
from energy_plugin.library.files.reading import IMAGES, SUFFIXES, texts_of


@dataclass(frozen=True)
class Document:
    """A file as rows.

    Attributes
    ----------
    source : str
        Path below the folder, with forward slashes.
    sha256 : str
        Hash of its content and of how it is cut.
    modified : str
        Time of its last change, ISO 8601, UTC.
    texts : list of str
        Its passages; the name alone for an image.
    image : Path or None
        The file itself, where pixels are embedded and not text.
    """

    source: str
    sha256: str
    modified: str
    texts: list[str]
    image: Path | None


def files_below(folder: Path) -> list[Path]:
    """Files with a known suffix, sorted; hidden files and folders are left out.

    Raises
    ------
    InvalidInputError
        Not a folder, or nothing in it can be indexed.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder. Give one with files to index.")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and (path.is_file() or path.is_symlink())  # a dangling link is listed as unreadable
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise InvalidInputError(
            f"{folder} holds no file to index. Expected some of {', '.join(sorted(SUFFIXES))}."
        )
    return found


def content_hash(data: bytes, size: int) -> str:
    """Hash of a file's content; another passage size is another content."""
    return hashlib.sha256(f"passages of {size}\n".encode() + data).hexdigest()


def document(folder: Path, path: Path, data: bytes, size: int) -> Document:
    """Read one file.

    Raises
    ------
    InvalidInputError
        See `energy_plugin.library.files.reading.texts_of`.
    """
    changed = datetime.fromtimestamp(int(path.stat().st_mtime), tz=timezone.utc)
    return Document(
        source=source_of(folder, path),
        sha256=content_hash(data, size),
        modified=changed.isoformat(),
        texts=[part for text in texts_of(path, data) for part in passages(text, size)],
        image=path if path.suffix.lower() in IMAGES else None,
    )


def source_of(folder: Path, path: Path) -> str:
    """Name of a file in the index; bytes that are no UTF-8 are replaced."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")
