"""A table's energy index in memory, as of one version of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.host import prints_of
from energy_lancedb.layout import LoadedRows, match
from energy_lancedb.pointer import Pointer

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField, EnergyIndex


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Index, and the host's row of each row number.

    Parameters
    ----------
    version : int
        Version of the host table.
    pointer : Pointer
    field : EnergyField
    index : EnergyIndex
        Also holds the stale rows, encoded from their own vectors.
    rowids : ndarray of shape (n,), uint64
        Host row of row number i.
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors.
    stale : int
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
    stale: int
    without_vector: int

    def __len__(self) -> int:
        return len(self.rowids)

    def row_numbers(self, rowids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row numbers of those host rows that have a vector."""
        positions, known = match(self.rowids, rowids)
        return positions[known]

    def columns_of(self, rows: NDArray[np.int64]) -> EnergyColumns:
        """Energy columns of row numbers."""
        return self.index.columns.take(rows)


def snapshot_of(
    version: int, pointer: Pointer, field: EnergyField, loaded: LoadedRows, device: str | None
) -> Snapshot:
    """Build the index of rows that a layout has loaded."""
    from energy_plugin.energy import EnergyIndex

    index = EnergyIndex.from_columns(field, loaded.columns, device=device)
    prints = loaded.fingerprints
    if len(loaded.stale):
        index.add(loaded.stale_vectors)
        prints = np.concatenate([prints, prints_of(loaded.stale_vectors)])
    return Snapshot(
        version=version,
        pointer=pointer,
        field=field,
        index=index,
        rowids=np.concatenate([loaded.rowids, loaded.stale]),
        fingerprints=prints,
        stale=len(loaded.stale),
        without_vector=loaded.without_vector,
    )
