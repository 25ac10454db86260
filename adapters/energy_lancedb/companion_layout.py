"""Energy columns in a companion table ``<name>__energy_rows``, by hash of the vector.

For storage that pylance cannot open, such as ``memory://``, and for users who want their table
untouched but for one metadata entry. The values of a row are a function of its vector and the
field, so the vector's hash is their key: no row number or key column of the host is relied on,
and opening reads the host's vectors once.
"""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.artefacts import KEPT
from energy_lancedb.columns import NAMES
from energy_lancedb.host import Host, clean, clear, in_history, open_or_none, prints_of, put
from energy_lancedb.layout import Encode, FittedRows, LoadedRows, match
from energy_lancedb.pointer import KEY, Pointer, outdated_rows, replaced_pointer, rows_of
from energy_plugin.energy import EnergyColumns
from energy_plugin.errors import CorruptFieldError
from energy_plugin.stored import Changes
from energy_plugin.stored.moments import Moment, reached

SUFFIX = "__energy_rows"
WRITE_BYTES = 8 << 20  # of residuals that are handed over at a time; what they become is more


def keys_of(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """64-bit hash of each row's float32 bytes; −0 counts as 0."""
    matrix = np.ascontiguousarray(vectors + np.float32(0.0), dtype="<f4")
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in matrix)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


class CompanionLayout:
    """The four columns in a table of their own.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = host.name + SUFFIX
        self._place = {"namespace_path": host.namespace} if host.namespace else {}

    def _open(self) -> Any | None:
        return open_or_none(self.host.connection, self.name, self.host.namespace)

    def publish(self, pointer: Pointer, rows: FittedRows) -> Pointer | None:
        """Write a new generation and flip the pointer; returns the one it replaced."""
        table = self._open()
        keys, first = np.unique(rows.keys(), return_index=True)
        if table is not None:
            clear(table, rows_of(pointer))  # left over by a build that broke off
        step = max(1, WRITE_BYTES // pointer.format.width)
        for start in range(0, len(keys), step):
            of = first[start : start + step]
            some = rows.columns.take(of), rows.fingerprints[of]
            self._write(_rows(pointer, keys[start : start + step], *some))
        reached(Moment.COLUMNS_WRITTEN)
        replaced = self._flip(pointer)
        reached(Moment.FLIPPED)
        self._drop_outdated(pointer, replaced)
        reached(Moment.SWEPT)
        return replaced

    def _flip(self, pointer: Pointer) -> Pointer | None:
        def flip() -> Pointer | None:
            self.host.latest()
            replaced = replaced_pointer(self.host.schema)
            reached(Moment.WRITING)
            self.host.table.update_field_metadata(
                {"path": pointer.vector_column, "metadata": {KEY: pointer.to_json()}}
            )
            return replaced

        replaced = self.host.insist(flip)
        self.host.latest()
        return replaced

    def _drop_outdated(self, current: Pointer, replaced: Pointer | None) -> None:
        table = self._open()
        if table is not None:
            clear(table, outdated_rows(current, replaced))
            self.clean(None)

    def clean(self, older_than: timedelta | None) -> None:
        """Remove old versions of the companion, by default those of more than seven days."""
        table = self._open()
        if table is not None:
            clean(table, KEPT if older_than is None else older_than)

    def revive(self, pointer: Pointer) -> None:
        """Write columns back that only older versions of the companion hold."""
        table = self._open()
        if table is None or table.count_rows(rows_of(pointer)) == 0:
            stored = self._stored(pointer)
            columns, prints = pointer.format.from_arrow(stored)
            keys = stored["key"].to_numpy().astype(np.uint64)
            self._write(_rows(pointer, keys, columns, prints))

    def _write(self, rows: pa.Table) -> None:
        put(self.host.connection, self.name, rows, self.host.namespace)

    def _stored(self, pointer: Pointer) -> pa.Table:
        table = self._open()
        if table is None:
            raise CorruptFieldError(
                f"The table {self.name!r} with the energy columns is missing. "
                "Write a new field with EnergyTable(table).build()."
            )
        schema = pa.schema([pa.field("key", pa.uint64()), *pointer.format.fields()])
        stored = next(in_history(table, rows_of(pointer), ["key", *NAMES]), schema.empty_table())
        try:
            return stored.cast(schema)
        except pa.ArrowInvalid as error:
            raise CorruptFieldError(
                f"The residuals in {self.name!r} are damaged ({error}). "
                "Write a new field with EnergyTable(table).build()."
            ) from error

    def load(self, pointer: Pointer) -> LoadedRows:
        """Read the current generation at the current version."""
        stored = self._stored(pointer)
        columns, prints = pointer.format.from_arrow(stored)
        known_keys = stored["key"].to_numpy().astype(np.uint64)
        vectors = self.host.vectors(pointer.vector_column, pointer.dim)
        positions, known = match(known_keys, keys_of(vectors.matrix))
        chosen = positions[known]
        return LoadedRows(
            rowids=vectors.rowids[known],
            columns=columns.take(chosen),
            fingerprints=prints[chosen],
            stale=vectors.rowids[~known],
            stale_vectors=vectors.matrix[~known],
            changed=np.zeros(int((~known).sum()), dtype=bool),
            emptied=vectors.without[:0],
            without_vector=len(vectors.without),
        )

    def catch_up(self, pointer: Pointer, encode: Encode) -> Changes:
        """Add the columns of stale rows; returns which rows were stale."""
        self.host.latest()
        loaded = self.load(pointer)
        if len(loaded.stale):
            keys, first = np.unique(keys_of(loaded.stale_vectors), return_index=True)
            vectors = loaded.stale_vectors[first]
            columns = encode(loaded.stale[first], vectors)
            self._write(_rows(pointer, keys, columns, prints_of(vectors)))
        return loaded.pending

    def tidy(self) -> None:
        """Rows of broken-off builds go with the next one."""

    def leftovers(self) -> list[str]:
        """Nothing that a user sees."""
        return []

    def drop(self) -> None:
        """Remove the pointer, then the table."""
        self.host.latest()
        for column in self.host.schema:
            if KEY.encode() in (column.metadata or {}) and column.name not in NAMES:
                reached(Moment.WRITING)
                self.host.table.update_field_metadata(
                    {"path": column.name, "metadata": {KEY: None}}
                )
        self.host.latest()
        if self._open() is not None:
            reached(Moment.WRITING)
            self.host.connection.drop_table(self.name, **self._place)


def _rows(
    pointer: Pointer,
    keys: NDArray[np.uint64],
    columns: EnergyColumns,
    fingerprints: NDArray[np.uint32],
) -> pa.Table:
    """Rows of the companion; residuals of any length, as generations may differ in theirs."""
    arrays = pointer.format.to_arrow(columns, fingerprints)
    arrays[3] = arrays[3].cast(pa.binary())
    generation = pa.array(np.full(len(keys), pointer.generation, dtype=np.int64))
    field = pa.array([pointer.sha256] * len(keys), pa.string())
    written = pa.array(np.full(len(keys), int(time.time()), dtype=np.int64))
    names = ["generation", "sha256", "written", "key", *NAMES]
    return pa.table([generation, field, written, pa.array(keys, pa.uint64()), *arrays], names=names)
