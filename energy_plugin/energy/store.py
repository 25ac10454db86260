"""The rows of an index: stable numbers, tombstones, columns, and their decoded form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.projection import Projection
from energy_plugin.errors import InvalidInputError

COMPACT_SHARE = 0.25  # tombstones beyond this share of the rows are cleared away


class RowStore:
    """Rows at positions 0..n−1, in ascending order of their numbers; some are tombstones."""

    def __init__(
        self,
        projection: Projection,
        columns: EnergyColumns,
        numbers: NDArray[np.int64] | None = None,
        next_number: int | None = None,
    ) -> None:
        self.projection = projection
        self.columns = columns
        self.numbers = np.arange(len(columns), dtype=np.int64) if numbers is None else numbers
        self.alive = np.ones(len(columns), dtype=bool)
        self.next_number = len(columns) if next_number is None else next_number
        self._decoded: torch.Tensor | None = None  # (capacity, d), filled up to _ready
        self._ready = 0
        self._lists: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def append(self, columns: EnergyColumns) -> NDArray[np.int64]:
        """Add rows; their new numbers."""
        numbers = np.arange(self.next_number, self.next_number + len(columns), dtype=np.int64)
        self.columns = EnergyColumns.concat([self.columns, columns])
        self.numbers = np.concatenate([self.numbers, numbers])
        self.alive = np.concatenate([self.alive, np.ones(len(columns), dtype=bool)])
        self.next_number += len(columns)
        self._lists = None
        return numbers

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Turn rows into tombstones; all of them or, if one is unknown, none."""
        positions = self.positions(rows)
        if len(positions) != len(rows):
            unknown = np.setdiff1d(rows, self.numbers[positions])
            raise InvalidInputError(
                f"{len(unknown)} of {len(rows)} rows to remove are not in the index "
                f"(first: {int(unknown[0])}). Nothing was removed."
            )
        self.alive[positions] = False
        self._lists = None
        if (~self.alive).sum() > COMPACT_SHARE * len(self):
            self._compact()

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the live rows among the given numbers, ascending."""
        if len(self) == 0:
            return np.empty(0, dtype=np.int64)
        found = np.searchsorted(self.numbers, rows).clip(max=len(self) - 1)
        hit = (self.numbers[found] == rows) & self.alive[found]
        return found[hit].astype(np.int64)

    def recode(self, positions: NDArray[np.int64], residual: NDArray[np.uint8]) -> None:
        """Other codes, of the same length, for some rows."""
        changed = self.columns.residual.copy()
        changed[positions] = residual
        self.columns = replace(self.columns, residual=changed)
        stale = positions[positions < self._ready]
        if self._decoded is not None and len(stale):
            where = torch.from_numpy(stale).to(self._decoded.device)
            self._decoded[where] = self.decode(stale)

    def _compact(self) -> None:
        keep = np.flatnonzero(self.alive)
        if self._decoded is not None:
            ready = keep[keep < self._ready]
            self._decoded = self._decoded[torch.from_numpy(ready).to(self._decoded.device)]
            self._ready = len(ready)
        self.columns = self.columns.take(keep)
        self.numbers = self.numbers[keep]
        self.alive = np.ones(len(keep), dtype=bool)
        self._lists = None

    def decoded(self) -> torch.Tensor:
        """All rows decoded, tombstones included; (n, d), kept and extended as rows are added."""
        n = len(self)
        if self._decoded is None or len(self._decoded) < n:
            room = n if self._decoded is None else max(n, int(1.5 * len(self._decoded)))
            grown = torch.empty(room, self.projection.field.dim, device=self.projection.device)
            if self._decoded is not None:
                grown[: self._ready] = self._decoded[: self._ready]
            self._decoded = grown
        if self._ready < n:
            new = slice(self._ready, n)
            self._decoded[new] = self.projection.decode(
                self.columns.cell[new], self.columns.residual[new]
            )
            self._ready = n
        return self._decoded[:n]

    def decode(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Some rows decoded, without keeping them; (p, d)."""
        return self.projection.decode(
            self.columns.cell[positions], self.columns.residual[positions]
        )

    def lists(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Live positions sorted by cell, and the ends of the m + 1 lists (cell −1 comes last)."""
        if self._lists is None:
            self._lists = cell_lists(
                np.flatnonzero(self.alive), self.columns.cell, self.projection.field.n_anchors
            )
        return self._lists


def cell_lists(
    positions: NDArray[np.int64], cell: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions sorted by cell, and the ends of each list; rows without cell in list `count`."""
    own = cell[positions].astype(np.int64)
    own[own == NO_CELL] = count
    order = positions[np.argsort(own, kind="stable")]
    ends = np.cumsum(np.bincount(own, minlength=count + 1))
    return order, ends
