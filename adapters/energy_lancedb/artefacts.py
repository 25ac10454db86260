"""The companion table ``<name>__energy``: the field's bytes in chunks, by generation."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import pyarrow as pa

from energy_lancedb.beside import clean, clear, in_history, open_or_none, put
from energy_lancedb.claims import Claims
from energy_lancedb.pointer import Pointer, outdated_rows, rows_of
from energy_plugin.errors import CorruptFieldError

CHUNK_BYTES = 1 << 20
SCHEMA = pa.schema(
    [
        pa.field("generation", pa.int64()),
        pa.field("sha256", pa.string()),  # tells builds apart that took the same number
        pa.field("written", pa.int64()),  # seconds since 1970
        pa.field("chunk", pa.int32()),
        pa.field("data", pa.large_binary()),
    ]
)
# Old versions of the companion tables stay as long as LanceDB keeps those of the host table:
# a version that is checked out or restored finds its field in them.
KEPT = timedelta(days=7)


class Artefacts:
    """The artefact table of one host table.

    Parameters
    ----------
    connection : lancedb.DBConnection
    name : str
        Name of the artefact table.
    namespace : list of str, optional
        Namespace of the host table.
    """

    def __init__(self, connection: Any, name: str, namespace: list[str] | None = None) -> None:
        self.name = name
        self._connection = connection
        self._namespace = namespace

    def _open(self) -> Any | None:
        table = open_or_none(self._connection, self.name, self._namespace)
        if table is not None and not set(SCHEMA.names) <= set(table.schema.names):
            # Not dropped here: it may be a table of the user's own.
            raise CorruptFieldError(
                f"The table {self.name!r} has the columns {table.schema.names}, expected "
                f"{SCHEMA.names}: an earlier release wrote it, or it is a table of your own. "
                "Drop or rename it, then call EnergyTable(table).build()."
            )
        return table

    def last_generation(self) -> int:
        """Highest generation stored, 0 for none."""
        table = self._open()
        if table is None or table.count_rows() == 0:
            return 0
        stored = table.search().select(["generation"]).to_arrow()["generation"]
        return int(stored.to_numpy().max())

    def write(self, generation: int, blob: bytes) -> tuple[int, str]:
        """Add the bytes of one generation; returns the number of chunks and the SHA-256."""
        sha256 = hashlib.sha256(blob).hexdigest()
        parts = [blob[i : i + CHUNK_BYTES] for i in range(0, len(blob), CHUNK_BYTES)] or [b""]
        rows = pa.table(
            {
                "generation": pa.array([generation] * len(parts), pa.int64()),
                "sha256": pa.array([sha256] * len(parts)),
                "written": pa.array([int(time.time())] * len(parts), pa.int64()),
                "chunk": pa.array(range(len(parts)), pa.int32()),
                "data": pa.array(parts, pa.large_binary()),
            },
            schema=SCHEMA,
        )
        table = self._open()
        if table is not None:
            # left over by a build that broke off
            clear(table, f"generation = {generation} AND sha256 = '{sha256}'")
        put(self._connection, self.name, rows, self._namespace)
        return len(parts), sha256

    def read(self, generation: int, chunks: int, sha256: str) -> bytes:
        """Read the bytes of one generation and check them.

        What the table's latest version lacks, or holds damaged, is looked for in older ones.

        Raises
        ------
        CorruptFieldError
            The table, a chunk or the right checksum is missing.
        """
        remedy = "Write a new field with EnergyTable(table).build()."
        table = self._open()
        if table is None:
            raise CorruptFieldError(f"The artefact table {self.name!r} is missing. {remedy}")
        where = f"generation = {int(generation)} AND sha256 = '{sha256}'"
        failure = f"has 0 chunks, expected {chunks}"
        for depth, found in enumerate(in_history(table, where, ["chunk", "data"])):
            parts = _chunks(found)
            blob = b"".join(parts)
            if len(parts) == chunks and hashlib.sha256(blob).hexdigest() == sha256:
                return blob
            if depth == 0:
                whole = len(parts) == chunks
                counts = f"has {len(parts)} chunks, expected {chunks}"
                failure = "fails its checksum" if whole else counts
        raise CorruptFieldError(
            f"Generation {generation} in the artefact table {self.name!r} {failure}. {remedy}"
        )

    def drop_outdated(self, current: Pointer, replaced: Pointer | None, claims: Claims) -> None:
        """Drop what is no longer needed once `current` is published, and nobody points to."""
        table = self._open()
        if table is not None:
            claims.delete(table, self.name, outdated_rows(current, replaced))
            self.clean(None)

    def clean(self, older_than: timedelta | None) -> None:
        """Remove old versions, by default those of more than seven days."""
        table = self._open()
        if table is not None:
            clean(table, KEPT if older_than is None else older_than)

    def has(self, pointer: Pointer) -> bool:
        """Whether the latest version of the table holds a field whole."""
        table = self._open()
        if table is None:
            return False
        rows = table.search().where(rows_of(pointer)).select(["chunk", "data"]).to_arrow()
        return hashlib.sha256(b"".join(_chunks(rows))).hexdigest() == pointer.sha256

    def revive(self, pointer: Pointer) -> None:
        """Write a field back that only older versions of this table hold.

        Raises
        ------
        CorruptFieldError
            No version holds it.
        """
        if not self.has(pointer):
            self.write(
                pointer.generation, self.read(pointer.generation, pointer.chunks, pointer.sha256)
            )

    def drop(self, claims: Claims) -> None:
        """Drop the table, if there is one; where others point to it, all but what they need."""
        table = self._open()
        if table is not None:
            claims.delete(table, self.name)


def _chunks(rows: pa.Table) -> list[bytes]:
    """Chunks of one field in their order; two writers may have written it at once."""
    by_number: dict[int, bytes] = dict(
        zip(rows["chunk"].to_pylist(), rows["data"].to_pylist(), strict=True)
    )
    return [by_number[number] for number in sorted(by_number)]
