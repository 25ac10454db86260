"""What of a folder is to be stored: each file compared with the rows that the store has of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.folder import Cutting, modified
from energy_plugin.library.stores.store import NOTE, Row


@dataclass
class Stored:
    """What a host has of one file."""

    sha256: str
    parts: int
    present: set[int]

    @property
    def complete(self) -> bool:
        """Every part is there."""
        return len(self.present) == self.parts


def stored_files(rows: Iterable[tuple[str, str, int, int]]) -> dict[str, Stored]:
    """Files by name, from (source, sha256, part, parts) of each row; notes are left out."""
    found: dict[str, Stored] = {}
    for source, sha256, part, parts in rows:
        if sha256 == NOTE:
            continue
        known = found.setdefault(source, Stored(sha256, parts, set()))
        if (known.sha256, known.parts) != (sha256, parts):
            known.sha256 = ""  # of two contents: stored again
        known.present.add(part)
    return found


@dataclass(frozen=True)
class Task:
    """One row to embed and store.

    Parameters
    ----------
    row : Row
    path : str
        Of its file.
    missing : int
        Rows of that file that this run has to store.
    replaces : bool
        Rows of an older content of the file stand in the host.
    """

    row: Row
    path: str
    missing: int
    replaces: bool

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str | bytes) -> Task:
        """The task of a line of `to_json`."""
        values = json.loads(line)
        return cls(**{**values, "row": Row(**values["row"])})


@dataclass(frozen=True)
class Reading:
    """What a file says, as far as the store lacks it.

    Attributes
    ----------
    source : str
    state : {"unchanged", "empty", "planned", "unreadable"}
    sha256 : str or None
        None where the file could not be opened.
    reason : str
        Why it is unreadable.
    emptied : bool
        The store has rows of it, and it has none any more.
    tasks : list of Task
    missing : int
        Their number, which is kept where they travel by themselves.
    """

    source: str
    state: str
    sha256: str | None = None
    reason: str = ""
    emptied: bool = False
    missing: int = 0
    tasks: list[Task] = field(default_factory=list)


def read_file(path: Path, source: str, before: Stored | None, cutting: Cutting) -> Reading:
    """Read a file and cut it, unless the store has all of it."""
    sha256 = None
    try:
        data = path.read_bytes()
        sha256 = cutting.digest(data)
        if before and before.sha256 == sha256 and before.complete:
            return Reading(source, "unchanged", sha256)
        found = cutting.parts(path, data)
        changed = modified(path)
    except (InvalidInputError, OSError) as error:
        return Reading(source, "unreadable", sha256, str(error))
    same = before is not None and (before.sha256, before.parts) == (sha256, len(found))
    there = before.present if same and before is not None else set()
    missing = [(number, part) for number, part in enumerate(found) if number not in there]
    replaces = before is not None and not same
    if not missing:
        return Reading(source, "empty", sha256, emptied=replaces)
    tasks = []
    for number, part in missing:
        row = Row(
            id=f"{source}#{number}",
            text=part.text,
            source=source,
            part=number,
            parts=len(found),
            sha256=sha256,
            modified=changed,
            page=part.page,
            picture=part.picture,
            fields=part.fields,
        )
        tasks.append(Task(row, str(path), len(missing), replaces))
    return Reading(source, "planned", sha256, missing=len(tasks), tasks=tasks)
