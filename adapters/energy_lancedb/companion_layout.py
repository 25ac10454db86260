"""Energy columns in a companion table ``<name>__energy_rows``, by hash of the vector.

The host's table stays as it was but for one entry of its metadata, and the storage need not be
one that pylance opens. The values of a row are a function of its vector and the
field, so the vector's hash is their key: no row number or key column of the host is relied on,
and opening reads the host's vectors once.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.artefacts import KEPT
from energy_lancedb.beside import FIELDS, ROWS, clean, clear, in_history, open_or_none, put
from energy_lancedb.claims import Claims
from energy_lancedb.columns import NAMES
from energy_lancedb.host import ROWID, Host, HostVectors, in_order, prints_of, vectors_of
from energy_lancedb.keys import KeyMemory, keys_of
from energy_lancedb.layout import Encode, FittedRows, LoadedRows, match
from energy_lancedb.pointer import Pointer, outdated_rows, replaced_pointer, rows_of
from energy_plugin.energy import EnergyColumns
from energy_plugin.errors import CorruptFieldError
from energy_plugin.stored import Changes
from energy_plugin.stored.moments import Moment, reached

WRITE_BYTES = 8 << 20  # of residuals that are handed over at a time; what they become is more


class CompanionLayout:
    """The four columns in a table of their own.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def _open(self, fields: str) -> Any | None:
        """The table of rows beside that of fields of this name."""
        return open_or_none(self.host.connection, fields + ROWS, self.host.namespace)

    def _open_for(self, pointer: Pointer) -> Any | None:
        """The table of rows of a field; it may have been renamed along with the host's."""
        table = self._open(pointer.artefacts)
        return self._open(self.host.name + FIELDS) if table is None else table

    def publish(self, pointer: Pointer, rows: FittedRows) -> Pointer | None:
        """Write a new generation and flip the pointer; returns the one it replaced."""
        table = self._open(pointer.artefacts)
        keys, first = np.unique(rows.keys(), return_index=True)
        if table is not None:
            clear(table, rows_of(pointer))  # left over by a build that broke off
        step = max(1, WRITE_BYTES // pointer.format.width)
        for start in range(0, len(keys), step):
            of = first[start : start + step]
            some = rows.columns.take(of), rows.fingerprints[of]
            self._write(pointer, _rows(pointer, keys[start : start + step], *some))
        reached(Moment.COLUMNS_WRITTEN)
        replaced = self._flip(pointer)
        reached(Moment.FLIPPED)
        return replaced

    def _flip(self, pointer: Pointer) -> Pointer | None:
        def flip() -> Pointer | None:
            self.host.latest()
            replaced = replaced_pointer(self.host.schema)
            reached(Moment.WRITING)
            self.host.describe(pointer.vector_column, pointer.to_json())
            return replaced

        replaced = self.host.insist(flip)
        self.host.latest()
        return replaced

    def drop_outdated(self, current: Pointer, replaced: Pointer | None, claims: Claims) -> None:
        """Drop rows that nobody points to once `current` is published."""
        table = self._open(current.artefacts)
        if table is not None:
            claims.delete(table, current.artefacts, outdated_rows(current, replaced))
            self.clean(current, None)
        reached(Moment.SWEPT)

    def clean(self, pointer: Pointer, older_than: timedelta | None) -> None:
        """Remove old versions of the companion, by default those of more than seven days."""
        table = self._open(pointer.artefacts)
        if table is not None:
            clean(table, KEPT if older_than is None else older_than)

    def revive(self, pointer: Pointer) -> None:
        """Write columns back that only older versions of the companion hold."""
        table = self._open_for(pointer)
        if table is None or table.count_rows(rows_of(pointer)) == 0:
            self._copy(pointer, pointer)

    def adopt(self, pointer: Pointer, own: Pointer) -> None:
        """Copy the columns of another table's companion, and point to the copy."""
        self._copy(pointer, own)
        self._flip(own)

    def _copy(self, source: Pointer, target: Pointer) -> None:
        stored = self._stored(source)
        columns, prints = source.format.from_arrow(stored)
        keys = stored["key"].to_numpy().astype(np.uint64)
        self._write(target, _rows(target, keys, columns, prints))

    def _write(self, pointer: Pointer, rows: pa.Table) -> None:
        put(self.host.connection, pointer.artefacts + ROWS, rows, self.host.namespace)

    def _stored(self, pointer: Pointer) -> pa.Table:
        table = self._open_for(pointer)
        if table is None:
            raise CorruptFieldError(
                f"The table {pointer.artefacts + ROWS!r} with the energy columns is missing. "
                "Write a new field with EnergyTable(table).build()."
            )
        schema = pa.schema([pa.field("key", pa.uint64()), *pointer.format.fields()])
        stored = next(in_history(table, rows_of(pointer), ["key", *NAMES]), schema.empty_table())
        try:
            return stored.cast(schema)
        except pa.ArrowInvalid as error:
            raise CorruptFieldError(
                f"The residuals in {pointer.artefacts + ROWS!r} are damaged ({error}). "
                "Write a new field with EnergyTable(table).build()."
            ) from error

    def load(self, pointer: Pointer) -> LoadedRows:
        """Read the current generation at the current version."""
        stored = self._stored(pointer)
        columns, prints = pointer.format.from_arrow(stored)
        known_keys = stored["key"].to_numpy().astype(np.uint64)
        rows = self.host.memory(KeyMemory).read(pointer.vector_column, pointer.dim)
        positions, known = match(known_keys, rows.keys)
        chosen = positions[known]
        stale = self._vectors(pointer, rows.rowids[~known])
        return LoadedRows(
            rowids=rows.rowids[known],
            columns=columns.take(chosen),
            fingerprints=prints[chosen],
            stale=stale.rowids,
            stale_vectors=stale.matrix,
            changed=np.zeros(len(stale.rowids), dtype=bool),
            emptied=rows.rowids[:0],
            without_vector=rows.without,
        )

    def _vectors(self, pointer: Pointer, rowids: NDArray[np.uint64]) -> HostVectors:
        """Vectors of some rows, by ascending row id."""
        column, dim = pointer.vector_column, pointer.dim
        if len(rowids) == 0:
            return HostVectors(rowids, np.empty((0, dim), dtype=np.float32), rowids)
        found = self.host.table.take_row_ids(rowids.tolist()).select([column, ROWID]).to_arrow()
        return in_order(vectors_of(found, column, dim))

    def catch_up(self, pointer: Pointer, encode: Encode) -> Changes:
        """Add the columns of stale rows; returns which rows were stale."""
        self.host.latest()
        loaded = self.load(pointer)
        if len(loaded.stale):
            keys, first = np.unique(keys_of(loaded.stale_vectors), return_index=True)
            vectors = loaded.stale_vectors[first]
            columns = encode(loaded.stale[first], vectors)
            self._write(pointer, _rows(pointer, keys, columns, prints_of(vectors)))
        return loaded.pending

    def tidy(self) -> None:
        """Rows of broken-off builds go with the next one."""

    def leftovers(self) -> list[str]:
        """Nothing that a user sees."""
        return []

    def drop(self, claims: Claims) -> None:
        """Remove the pointer, then the rows that no other table points to."""
        self.host.latest()
        previous = replaced_pointer(self.host.schema)
        column = previous.vector_column if previous is not None else ""
        self.host.insist(lambda: self.host.describe(column, None), move=True)
        self.host.latest()
        self.drop_rows(self.host.name + FIELDS, claims)

    def drop_rows(self, fields: str, claims: Claims) -> None:
        """Remove the rows beside a table of fields, but for those that are pointed to."""
        table = self._open(fields)
        if table is not None:
            claims.delete(table, fields)


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
