"""What the last command found, kept with the database, so that the next one starts at once.

A note is believed only while the database is as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from energy_plugin import __version__
from energy_plugin.library.stores.address import server_of

FOLDER = ".energy-plugin"


# Chroma writes to its file when it is opened; each change of a record has a sequence number.
_CHROMA = (
    "SELECT count(*), max(seq_id), total(seq_id) FROM embeddings",
    "SELECT * FROM max_seq_id ORDER BY 1",
    "SELECT * FROM collections ORDER BY 1",
    "SELECT * FROM collection_metadata ORDER BY 1, 2",
    "SELECT * FROM segments ORDER BY 1",
)


def state_of(database: Path) -> str:
    """Hash that changes with what a database holds.

    Of the names, sizes and times of its files; of the records' sequence numbers in Chroma. That
    of a server is never the same twice, as its files are elsewhere.
    """
    if server_of(database) is not None:
        return uuid4().hex
    digest = hashlib.sha256(__version__.encode())
    sqlite = database / "chroma.sqlite3"
    if sqlite.is_file():
        with suppress(sqlite3.Error), closing(_reading(sqlite)) as connection:
            for asked in _CHROMA:
                for row in connection.execute(asked):
                    digest.update(repr(row).encode("utf-8", "replace"))
            return digest.hexdigest()
    for place, folders, files in os.walk(database):
        folders[:] = sorted(name for name in folders if name != FOLDER)
        for name in sorted(files):
            path = os.path.join(place, name)
            try:
                found = os.stat(path)
            except FileNotFoundError:  # removed meanwhile
                continue
            digest.update(f"{path[len(str(database)) :]}\0".encode("utf-8", "surrogateescape"))
            digest.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _reading(sqlite: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{sqlite.resolve().as_uri()}?mode=ro", uri=True)


def recall(database: Path, name: str, what: str, *, lasting: bool = False) -> Any | None:
    """A note of `keep`; None where there is none or, unless it lasts, the database changed."""
    try:
        noted = json.loads(_file(database, name, what).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(noted, dict):
        return None
    if not lasting and noted.get("state") != state_of(database):
        return None
    return noted.get("value")


def keep(database: Path, name: str, what: str, value: Any) -> None:
    """Note a JSON value about a table or collection; a read-only folder or server keeps none."""
    file = _file(database, name, what)
    draft = file.with_suffix(f".{os.getpid()}.draft")
    try:
        file.parent.mkdir(exist_ok=True)
        noted = {"state": state_of(database), "value": value}
        draft.write_text(json.dumps(noted, ensure_ascii=False), encoding="utf-8")
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)


def _file(database: Path, name: str, what: str) -> Path:
    return database / FOLDER / f"{quote(name, safe='')}.{what}.json"
