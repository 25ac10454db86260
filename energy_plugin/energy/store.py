"""The rows of an index: stable numbers, tombstones, columns, and their decoded form.

Rows lie in the order of their numbers. `Layout` is the same rows sorted by cell, so that a
probed cell is one contiguous block; slots are places in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy import coarse
from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.projection import Projection
from energy_plugin.errors import InvalidInputError

COMPACT_SHARE = 0.25  # tombstones beyond this share of the rows are cleared away
KEPT_BYTES = 4 << 30  # decoded rows are kept up to here, and decoded at every search beyond

TABLE_ROWS = 300_000  # rows that a batch of queries scans whole; cells are probed beyond


@dataclass(frozen=True)
class Scalars:
    """What the distance needs of rows beside their coordinates; tensors of one shape."""

    lambda_: torch.Tensor
    dispersion: torch.Tensor
    real: torch.Tensor  # bool, has a direction
    all_real: bool

    def take(self, where: torch.Tensor) -> Scalars:
        """Of some rows."""
        if self.all_real:
            real = torch.ones((), dtype=torch.bool, device=where.device).expand(where.shape)
        else:
            real = self.real[where]
        return Scalars(self.lambda_[where], self.dispersion[where], real, self.all_real)


@dataclass(frozen=True)
class Layout:
    """All rows of a store, tombstones included, sorted by cell."""

    order: torch.Tensor  # (n,) positions, ascending within a cell
    starts: NDArray[np.int64]  # (m + 1,) first slot of a cell; the last list has no cell
    lengths: NDArray[np.int64]  # (m + 1,)
    sizes: NDArray[np.int64]  # (m + 1,) live rows
    scalars: Scalars  # in slots
    rows: torch.Tensor | None  # (n, d) decoded, in slots; None if they are too many to keep
    coarse: torch.Tensor | None  # (n, d) int8, the same for coarse scores where they apply
    coarse_table: torch.Tensor | None  # the same, dimensions first; for fewer rows

    def open_rows(self, store: RowStore, allowed: NDArray[np.int64] | None) -> torch.Tensor | None:
        """Slots that may be found, (n,) bool; None: all of them."""
        if allowed is None:
            if store.alive.all():
                return None
            mask = store.alive
        else:
            mask = np.zeros(len(store), dtype=bool)
            mask[allowed] = True
        return torch.from_numpy(mask).to(self.order.device)[self.order]

    def count(self, slots: torch.Tensor) -> NDArray[np.int64]:
        """How many of the slots, (n,) bool, are set in each cell; (m + 1,)."""
        cumulated = np.concatenate([[0], np.cumsum(slots.cpu().numpy(), dtype=np.int64)])
        return np.asarray(cumulated[self.starts + self.lengths] - cumulated[self.starts])


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
        self._layout: Layout | None = None
        self._scalars: Scalars | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def append(self, columns: EnergyColumns) -> NDArray[np.int64]:
        """Add rows; their new numbers."""
        numbers = np.arange(self.next_number, self.next_number + len(columns), dtype=np.int64)
        self.columns = EnergyColumns.concat([self.columns, columns])
        self.numbers = np.concatenate([self.numbers, numbers])
        self.alive = np.concatenate([self.alive, np.ones(len(columns), dtype=bool)])
        self.next_number += len(columns)
        self._lists = self._layout = self._scalars = None
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
        if self._layout is not None:
            cells = self.columns.cell[positions].astype(np.int64)  # −1 is the last list
            gone = np.bincount(
                np.where(cells == NO_CELL, len(self._layout.sizes) - 1, cells),
                minlength=len(self._layout.sizes),
            )
            self._layout = replace(self._layout, sizes=self._layout.sizes - gone)
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
        self._layout = None
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
        self._lists = self._layout = self._scalars = None

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

    @property
    def keeps_rows(self) -> bool:
        """Whether decoded rows are few enough to be kept."""
        return 4 * len(self) * self.projection.field.dim <= KEPT_BYTES

    def scalars(self) -> Scalars:
        """λ, G and direction of all rows, in their order."""
        if self._scalars is None:
            device, columns = self.projection.device, self.columns
            real = columns.cell != NO_CELL
            self._scalars = Scalars(
                torch.tensor(columns.lambda_, device=device),
                torch.tensor(columns.dispersion, device=device),
                torch.from_numpy(real).to(device),
                bool(real.all()),
            )
        return self._scalars

    def layout(self) -> Layout:
        """The rows sorted by cell; made once, and again after rows came or changed."""
        if self._layout is None:
            count = self.projection.field.n_anchors
            device = self.projection.device
            order, ends = cell_lists(np.arange(len(self)), self.columns.cell, count)
            starts = np.concatenate([[0], ends[:-1]])
            where = torch.from_numpy(order).to(device)
            rows = None
            if self.keeps_rows:
                known = self._decoded if self._ready == len(self) else None
                rows = self.decode(order) if known is None else known[where]
            integers = table = None
            if rows is not None and coarse.applies(self.projection):
                integers = coarse.integers(rows)
                table = coarse.by_dimension(integers) if len(rows) <= TABLE_ROWS else None
            _, live = cell_lists(np.flatnonzero(self.alive), self.columns.cell, count)
            self._layout = Layout(
                order=where,
                starts=starts,
                lengths=ends - starts,
                sizes=np.diff(live, prepend=0),
                scalars=self.scalars().take(where),
                rows=rows,
                coarse=integers,
                coarse_table=table,
            )
        return self._layout

    def rows_of_cell(self, layout: Layout, cell: int) -> torch.Tensor:
        """All rows of a cell, decoded, in slots; (c, d)."""
        start = int(layout.starts[cell])
        stop = start + int(layout.lengths[cell])
        if layout.rows is not None:
            return layout.rows[start:stop]
        return self.decode(layout.order[start:stop].cpu().numpy())

    def rows_of_slots(self, layout: Layout, slots: torch.Tensor) -> torch.Tensor:
        """Decoded rows of slots (b, p); (b, p, d)."""
        if layout.rows is not None:
            return layout.rows[slots]
        positions = layout.order[slots.reshape(-1)].cpu().numpy()
        return self.decode(positions).view(*slots.shape, -1)

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
