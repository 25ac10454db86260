"""A table's energy index in memory, as of one version of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.host import prints_of
from energy_lancedb.layout import LoadedRows
from energy_lancedb.pointer import Pointer
from energy_plugin.stored import Changes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from energy_lancedb.fulltext import Matches
    from energy_plugin.energy import EnergyColumns, EnergyField, EnergyIndex

GONE = np.uint64(2**64 - 1)  # host row of a row number that is no longer in use
MOST_GONE = 0.5  # share of row numbers without a row from which the index is rebuilt


class Lookup:
    """Positions of values in an array; sorts it once.

    Parameters
    ----------
    values : ndarray of shape (n,), unsigned
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def find(self, wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Position of each wanted value (the first, if there are several); whether it is there."""
        if len(self._sorted) == 0:
            return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
        slots = np.searchsorted(self._sorted, wanted)
        slots = np.minimum(slots, len(self._sorted) - 1)
        return self._order[slots].astype(np.int64), self._sorted[slots] == wanted


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Index, and the host's row of each row number.

    Successive snapshots of one generation share the index, which is why a snapshot is used
    under the lock of its `EnergyTable`.

    Parameters
    ----------
    version : int
        Version of the host table.
    pointer : Pointer
    field : EnergyField
    index : EnergyIndex
        Also holds the stale rows, encoded from their own vectors.
    rowids : ndarray of shape (n,), uint64
        Host row of row number i; `GONE` for numbers out of use.
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors.
    pending : Changes
        Rows that wait for `EnergyTable.refresh`.
    without_vector : int
        Rows in no result.
    """

    version: int
    pointer: Pointer
    field: EnergyField
    index: EnergyIndex
    rowids: NDArray[np.uint64]
    fingerprints: NDArray[np.uint32]
    pending: Changes
    without_vector: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def live_rowids(self) -> NDArray[np.uint64]:
        """Host rows of the live row numbers, in the order of `index.rows`."""
        return self.rowids[self.index.rows]

    @cached_property
    def _by_rowid(self) -> Lookup:
        return Lookup(self.rowids)

    @cached_property
    def _live(self) -> tuple[NDArray[np.int64], Lookup]:
        live = np.flatnonzero(self.rowids != GONE)
        return live, Lookup(self.fingerprints[live])

    def find_rowids(
        self, rowids: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Row number of each host row, and whether it has one."""
        return self._by_rowid.find(rowids)

    def find_same(
        self, rowids: NDArray[np.uint64], prints: NDArray[np.uint32]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """As `find_rowids`, of rows that still have the vector with that fingerprint."""
        rows, known = self.find_rowids(rowids)
        if known.any():
            known &= self.fingerprints[rows] == prints
        return rows, known

    def find_vectors(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Row number of a row with the same vector, and whether there is one."""
        live, lookup = self._live
        positions, known = lookup.find(prints_of(vectors))
        return (live[positions] if len(live) else positions), known

    def lexical(self, found: Sequence[Matches]) -> csr_array:
        """Scores of full-text searches by row number, (q, n); of rows that are known."""
        from scipy.sparse import csr_array

        parts, starts = [], [0]
        for one in found:
            rows, known = self.find_rowids(one.rowids)
            parts.append((rows[known], one.scores[known]))
            starts.append(starts[-1] + len(parts[-1][0]))
        rows, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        return csr_array((scores, rows, starts), shape=(len(found), len(self.rowids)))

    def columns_of(self, rows: NDArray[np.int64]) -> EnergyColumns:
        """Energy columns of row numbers."""
        return self.index.columns_of(rows)


def snapshot_of(
    version: int,
    pointer: Pointer,
    field: EnergyField,
    loaded: LoadedRows,
    *,
    device: str | None = None,
    previous: Snapshot | None = None,
) -> Snapshot:
    """Build the index of rows that a layout has loaded, from the previous one if possible."""
    rows = None
    if previous is not None and previous.pointer.same_field(pointer):
        rows = _follow(previous, loaded)
    if rows is None or previous is None:
        from energy_plugin.energy import EnergyIndex

        index = EnergyIndex.from_columns(field, loaded.columns, device=device)
        rows = _append(
            index, loaded.rowids, loaded.fingerprints, loaded.stale, loaded.stale_vectors
        )
    else:
        index = previous.index
    return Snapshot(
        version=version,
        pointer=pointer,
        field=field,
        index=index,
        rowids=rows[0],
        fingerprints=rows[1],
        pending=loaded.pending,
        without_vector=loaded.without_vector,
    )


Rows = tuple[NDArray[np.uint64], NDArray[np.uint32]]


def _follow(previous: Snapshot, loaded: LoadedRows) -> Rows | None:
    """Bring the index of `previous` to what was loaded; None if that needs a new index.

    A row is the same if its number in the host and its vector's fingerprint are.
    """
    numbers, same = previous.find_same(loaded.rowids, loaded.fingerprints)
    if not same.all():
        return None  # written elsewhere: their columns are known, their vectors are not
    stale, kept = previous.find_same(loaded.stale, prints_of(loaded.stale_vectors))
    keep = np.zeros(len(previous.rowids), dtype=bool)
    keep[numbers] = True
    keep[stale[kept]] = True
    if len(keep) and 1 - keep.mean() > MOST_GONE:
        return None
    rowids = np.where(keep, previous.rowids, GONE)
    gone = np.flatnonzero(~keep & (previous.rowids != GONE))
    if len(gone):
        previous.index.remove(gone)
    new = ~kept
    return _append(
        previous.index, rowids, previous.fingerprints, loaded.stale[new], loaded.stale_vectors[new]
    )


def _append(
    index: EnergyIndex,
    rowids: NDArray[np.uint64],
    prints: NDArray[np.uint32],
    new: NDArray[np.uint64],
    vectors: NDArray[np.float32],
) -> Rows:
    if len(new):
        index.add(vectors)
        rowids = np.concatenate([rowids, new])
        prints = np.concatenate([prints, prints_of(vectors)])
    return rowids, prints
