"""Whether a table of local files was dropped and made again: its version may be the same."""

from __future__ import annotations

import os
from typing import Any


class Folder:
    """The manifests of a table in local files; elsewhere nothing is known.

    Parameters
    ----------
    table : lancedb.table.LanceTable
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._versions: str | None = None

    def stamp(self, version: int) -> tuple[int, ...] | None:
        """What stands for the manifest of a version: it is written once and never changed."""
        if self._versions is None:
            uri = str(getattr(self._table, "uri", "") or "").removeprefix("file://")
            self._versions = "" if not uri or "://" in uri else os.path.join(uri, "_versions")
        if not self._versions:
            return None
        for name in (f"{2**64 - 1 - version:020}", str(version)):  # by naming schemes 2 and 1
            try:
                seen = os.stat(os.path.join(self._versions, f"{name}.manifest"))
            except OSError:
                continue
            return seen.st_mtime_ns, seen.st_ino, seen.st_size
        return None
