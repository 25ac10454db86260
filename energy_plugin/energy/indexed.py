"""Rows of a collection in their field, by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.errors import InvalidInputError


class IndexedRows:
    """The part of `EnergyIndex` on which the others stand: a field and the columns of its rows."""

    def __init__(self, field: EnergyField, columns: EnergyColumns, *, device: str | None = None):
        self.field = field
        self._projection = field.projection(device)
        self._store = RowStore(self._projection, columns)

    def __len__(self) -> int:
        return int(self._store.alive.sum())

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the live rows, ascending; (n_live,) int64."""
        return self._store.numbers[self._store.alive]

    @property
    def next_row(self) -> int:
        """Number that the next added row will get; the width of lexical scores."""
        return self._store.next_number

    @property
    def columns(self) -> EnergyColumns:
        """Columns of the live rows, in the order of `rows`."""
        return self._store.columns.take(self._store.alive)

    def columns_of(self, rows: Any) -> EnergyColumns:
        """Columns of some live rows, without a copy of the others.

        Parameters
        ----------
        rows : array_like of shape (n,), int
            Row numbers in any order, also repeated.

        Returns
        -------
        EnergyColumns
            In the order of `rows`.

        Raises
        ------
        InvalidInputError
            A number is not that of a live row.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        positions = self._store.positions(wanted)
        if len(positions) != len(wanted):
            raise InvalidInputError(
                f"{len(wanted) - len(positions)} of {len(wanted)} rows are not in the index. "
                "Pass numbers that are in index.rows."
            )
        return self._store.columns.take(positions)

    @property
    def device(self) -> str:
        """Where the numerics run."""
        return str(self._projection.device)
