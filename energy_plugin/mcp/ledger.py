"""What agents changed: one line of JSON for each change, kept with the database."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from energy_plugin.errors import HostWriteError
from energy_plugin.library.memory import FOLDER


class Ledger:
    """Append-only history of one table or collection.

    Parameters
    ----------
    database : Path
    name : str
    """

    def __init__(self, database: Path, name: str) -> None:
        self.path = database / FOLDER / f"{quote(name, safe='')}.history.jsonl"

    def write(self, action: str, **said: Any) -> dict[str, Any]:
        """Append one entry, and wait until it is on the disk.

        Raises
        ------
        HostWriteError
            The entry cannot be written; nothing may change then.
        """
        entry = {"at": now().isoformat(), "action": action, **said}
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise HostWriteError(
                f"The history {self.path} cannot be written ({error}), so nothing was changed. "
                "Make it writable, then retry."
            ) from error
        return entry

    def read(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries, newest first; lines that were cut short are left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found: list[dict[str, Any]] = []
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
            if len(found) == limit:
                break
        return found


def now() -> datetime:
    """The present, UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)
