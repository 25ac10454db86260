"""The files of a folder that can be indexed, with the hash that tells whether they changed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.part import Part
from energy_plugin.library.files.passages import passages
from energy_plugin.library.files.reading import SUFFIXES, parts_of


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes
    ----------
    files : list of Path
        Those that are read, sorted.
    skipped : Counter of str
        The others by suffix; "no suffix" for files without one.
    outside : list of str
        Links that lead out of the folder, which are not followed.
    closed : dict of str to str
        Why a folder inside cannot be read, by its name.
    """

    files: list[Path]
    skipped: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)

    def hides(self, source: str) -> bool:
        """Whether a file of that name may stand in a folder that cannot be read."""
        return any(source.startswith(f"{name}/") for name in self.closed)


def left_out(skipped: Mapping[str, int], outside: Sequence[str]) -> str:
    """One line on what is not read; empty where everything is."""
    said = []
    if skipped:
        ordered = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count} {name}" for name, count in ordered)
        said.append(f"{sum(skipped.values())} skipped: {kinds}")
    if outside:
        more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
        said.append(
            f"{len(outside)} links out of the folder not followed: {', '.join(outside[:3])}{more}"
        )
    return "; ".join(said)


def files_below(folder: Path, database: Path | None = None) -> Listing:
    """Files with a known suffix, sorted; hidden files and folders are left out.

    Parameters
    ----------
    folder : Path
    database : Path, optional
        A folder that is left out, as it holds the index itself.

    Raises
    ------
    InvalidInputError
        Not a folder, or nothing in it can be indexed.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder. Give one with files to index.")
    found = Listing([])
    root = folder.resolve()
    own = None if database is None else database.resolve()

    def refused(error: OSError) -> None:
        place = Path(os.fsdecode(error.filename))
        if place == folder:
            raise InvalidInputError(f"{folder} cannot be read: {error}") from error
        found.closed[source_of(folder, place)] = str(error)

    for path in sorted(_walk(folder, own, refused)):
        if path.is_symlink() and path.exists() and not path.resolve().is_relative_to(root):
            found.outside.append(path.relative_to(folder).as_posix())
        elif path.is_dir():
            continue  # a link to a folder inside, which is read in its own place
        elif path.exists() and not path.is_file():
            found.skipped["pipe or device"] += 1  # one would be waited for
        elif path.suffix.lower() in SUFFIXES:
            found.files.append(path)  # a dangling link is listed as unreadable
        else:
            found.skipped[path.suffix.lower() or "no suffix"] += 1
    if not found.files:
        said = left_out(found.skipped, found.outside)
        raise InvalidInputError(
            f"{folder} has no file to index{f' ({said})' if said else ''}. "
            f"Expected some of {', '.join(sorted(SUFFIXES))}."
        )
    return found


def _walk(folder: Path, without: Path | None, refused: Callable[[OSError], None]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, onerror=refused):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (without is None or (here / name).resolve() != without)
        )
        yield from (here / name for name in folders if (here / name).is_symlink())
        yield from (here / name for name in files if not name.startswith("."))


@dataclass(frozen=True)
class Cutting:
    """How texts become passages.

    Parameters
    ----------
    size : int
        Characters of a passage.
    overlap : int
        Characters that two neighbours share, in whole sentences.
    """

    size: int = 1000
    overlap: int = 0

    def parts(self, path: Path, data: bytes) -> list[Part]:
        """Passages of a file, pictures among them.

        Raises
        ------
        InvalidInputError
            See `energy_plugin.library.files.reading.parts_of`.
        """
        return [
            cut
            for part in parts_of(path, data)
            for cut in ([part] if part.picture else self._cut(part))
        ]

    def _cut(self, part: Part) -> Iterator[Part]:
        for text in passages(part.text, self.size, self.overlap):
            yield Part(text, part.fields, part.page)

    def digest(self, data: bytes) -> str:
        """Hash of a file's content; cut another way, it is another content."""
        overlap = f" overlap {self.overlap}" if self.overlap else ""
        return hashlib.sha256(f"passages of {self.size}{overlap}\n".encode() + data).hexdigest()


def modified(path: Path) -> str:
    """Time of a file's last change, ISO 8601, UTC."""
    changed = datetime.fromtimestamp(int(path.stat().st_mtime), tz=timezone.utc)
    return changed.isoformat()


def source_of(folder: Path, path: Path) -> str:
    r"""Name of a file in the index; bytes that are not UTF-8 are written as ``\xff``."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def state_of_files(folder: Path, database: Path) -> int:
    """Number that changes with the names, sizes and times of the files to index.

    Raises
    ------
    InvalidInputError
        As `files_below`.
    """
    found = []
    for path in files_below(folder, database).files:
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a dangling link
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return hash(tuple(found))
