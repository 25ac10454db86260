"""The rows of an index: stable numbers, tombstones, columns, and their decoded form.

Rows lie in the order of their numbers. Decoded rows and sketches are made when a search first
wants them, and extended as rows are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import EPS
from energy_plugin.energy.codec import scan, sketch
from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.projection import Projection
from energy_plugin.errors import InvalidInputError
from energy_plugin.threads import threads_for

COMPACT_SHARE = 0.25  # tombstones beyond this share of the rows are cleared away
KEPT_BYTES = 1 << 30  # decoded rows are kept up to here, and decoded at every search beyond
FEW = 8  # less than one row in so many
DECODING = 64  # what a decoded value costs, in multiply-adds
SKETCH_BLOCK = 4096  # rows decoded at a time where they are not kept


@dataclass(frozen=True)
class Scalars:
    """What the distance needs of rows beside their coordinates; tensors of one shape."""

    lambda_: torch.Tensor
    dispersion: torch.Tensor
    real: torch.Tensor  # bool, has a direction
    all_real: bool

    def take(self, where: torch.Tensor) -> Scalars:
        """Of some rows."""
        flat = where.flatten()  # index_select takes a fraction of the time of indexing

        def some(values: torch.Tensor) -> torch.Tensor:
            return values.index_select(0, flat).view(where.shape)

        if self.all_real:
            real = torch.ones((), dtype=torch.bool, device=where.device).expand(where.shape)
        else:
            real = some(self.real)
        return Scalars(some(self.lambda_), some(self.dispersion), real, self.all_real)


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
        self.columns = replace(columns, field_id=projection.field.fingerprint)
        self.numbers = np.arange(len(columns), dtype=np.int64) if numbers is None else numbers
        self.alive = np.ones(len(columns), dtype=bool)
        self.next_number = len(columns) if next_number is None else next_number
        self._decoded: torch.Tensor | None = None  # (capacity, d), filled up to _ready
        self._ready = 0
        self._lists: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._sketcher: sketch.Sketcher | None = None
        self._sketches: sketch.Sketches | None = None  # with room, filled up to _sketched
        self._sketched = 0
        self._scalars: Scalars | None = None
        self._lengths: NDArray[np.float32] | None = None  # of the decoded rows, (capacity,)
        self._open: tuple[torch.Tensor | None, int] | None = None
        self._live: tuple[int, int] | None = None
        self._codes: scan.Codes | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def renewed(
        self, projection: Projection, columns: EnergyColumns, live: NDArray[np.int64]
    ) -> RowStore:
        """The live rows at these positions in another field, under their numbers."""
        return RowStore(projection, columns, self.numbers[live], self.next_number)

    def append(self, columns: EnergyColumns) -> NDArray[np.int64]:
        """Add rows; their new numbers."""
        numbers = np.arange(self.next_number, self.next_number + len(columns), dtype=np.int64)
        self.columns = EnergyColumns.concat([self.columns, columns])
        self.numbers = np.concatenate([self.numbers, numbers])
        self.alive = np.concatenate([self.alive, np.ones(len(columns), dtype=bool)])
        self.next_number += len(columns)
        self._lists = self._scalars = self._open = self._live = self._codes = None
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
        self._lists = self._open = self._live = None
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
        self._codes = None
        kept = positions[positions < max(self._ready, self._sketched)]
        for start in range(0, len(kept), SKETCH_BLOCK):
            some = kept[start : start + SKETCH_BLOCK]
            rows = self.decode(some)
            where = torch.from_numpy(some).to(rows.device)
            if self._decoded is not None:
                ready = where < self._ready
                self._decoded[where[ready]] = rows[ready]
                self._lengths = None
            if self._sketches is not None and self._sketcher is not None:
                ready = where < self._sketched
                self._sketches.put(where[ready], self._sketcher.rows(rows[ready]))

    def _compact(self) -> None:
        keep = np.flatnonzero(self.alive)
        if self._decoded is not None:
            ready = keep[keep < self._ready]
            self._decoded = self._decoded[torch.from_numpy(ready).to(self._decoded.device)]
            self._ready = len(ready)
            self._lengths = None
        if self._sketches is not None and self._sketcher is not None:
            ready = keep[keep < self._sketched]
            where = torch.from_numpy(ready)
            self._sketches = self._sketches.copied(self._sketcher, len(keep), where)
            self._sketched = len(ready)
        self.columns = self.columns.take(keep)
        self.numbers = self.numbers[keep]
        self.alive = np.ones(len(keep), dtype=bool)
        self._lists = self._scalars = self._open = self._live = self._codes = None

    def decoded(self) -> torch.Tensor:
        """All rows decoded, tombstones included; (n, d), kept and extended as rows are added."""
        n = len(self)
        if self._decoded is None or len(self._decoded) < n:
            room = n if self._decoded is None else max(n, int(1.5 * len(self._decoded)))
            grown = torch.empty(
                room,
                self.projection.field.dim,
                dtype=torch.float32,
                device=self.projection.device,
            )
            if self._decoded is not None:
                grown[: self._ready] = self._decoded[: self._ready]
            self._decoded = grown
        if self._ready < n:
            new = slice(self._ready, n)
            with threads_for(DECODING * self._decoded[new].numel()):
                self.projection.decode(
                    self.columns.cell[new], self.columns.residual[new], out=self._decoded[new]
                )
            self._ready = n
        return self._decoded[:n]

    def sketches(self) -> tuple[sketch.Sketcher, sketch.Sketches]:
        """The field's sketcher and the sketches of all rows, g·GROUP, padded with zeros."""
        n = len(self)
        few = n <= self.projection.field.config.exhaustive_rows and self.keeps_rows
        if self._sketcher is not None and self._sketcher.exact and not self._still_exact(few):
            self._sketcher = self._sketches = None
            self._sketched = 0
        if self._sketcher is None:
            if few:
                self._sketcher = sketch.Sketcher.whole(self.decoded())
            else:
                sample = np.unique(np.linspace(0, n - 1, sketch.SAMPLE).astype(np.int64))
                self._sketcher = sketch.Sketcher.of(self.decode(sample))
        if self._sketches is None:
            self._sketches = sketch.Sketches.room(self._sketcher, n)
        if self._sketched < n:
            if len(self._sketches) < n:  # and half as many more
                room, ready = max(n, int(1.5 * len(self._sketches))), slice(0, self._sketched)
                self._sketches = self._sketches.copied(self._sketcher, room, ready)
            width, dim = self._sketcher.width, self.projection.field.dim
            with threads_for(float(n - self._sketched) * dim * (DECODING + width)):
                self._sketch(slice(self._sketched, n), self._sketcher, self._sketches)
            self._sketched = n
        return self._sketcher, self._sketches.head(n)

    def _still_exact(self, few: bool) -> bool:
        """Whether sketches of all components are still wanted, and added rows fit their scale."""
        assert self._sketcher is not None
        return few and self._sketcher.holds(self.decoded()[self._sketched :])

    def _sketch(self, new: slice, sketcher: sketch.Sketcher, out: sketch.Sketches) -> None:
        """Sketches of new rows, a block at a time."""
        for start in range(new.start, new.stop, SKETCH_BLOCK):
            part = slice(start, min(new.stop, start + SKETCH_BLOCK))
            if self.keeps_rows:
                rows = self.decoded()[part]
            else:
                rows = self.projection.decode(self.columns.cell[part], self.columns.residual[part])
            out.put(part, sketcher.rows(rows))

    def decode(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Some rows decoded, without keeping them; (p, d)."""
        return self.projection.decode(
            self.columns.cell[positions], self.columns.residual[positions]
        )

    def take(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Some rows decoded, (p, d); of the kept ones unless few are wanted and none are kept."""
        few = self._ready < len(self) and FEW * len(positions) < len(self)
        if few or not self.keeps_rows:
            return self.decode(positions)
        where = torch.from_numpy(positions).to(self.projection.device)
        return self.decoded().index_select(0, where)

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
                _shared(columns.lambda_, device),
                _shared(columns.dispersion, device),
                torch.from_numpy(real).to(device),
                bool(real.all()),
            )
        return self._scalars

    def energies(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """λ and G of all rows, in their order."""
        return self.columns.lambda_, self.columns.dispersion

    def unit_rows(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Kept rows at length one, (p, d); on the CPU."""
        rows = self.decoded()
        if self._lengths is None or len(self._lengths) < len(rows):
            self._lengths = rows.norm(dim=1).clamp_min_(EPS).numpy()
        some = rows.index_select(0, torch.from_numpy(positions)).numpy()
        some /= self._lengths[positions, None]
        return some

    def open_sketches(self) -> tuple[torch.Tensor | None, int]:
        """Places of `sketches` that may not be found, None if there are none, and used cells."""
        if self._open is None:
            closed = None
            padded = sketch.padded(len(self))
            if padded > len(self) or not self.alive.all():
                closed = torch.ones(padded, dtype=torch.bool, device="cpu")
                closed[: len(self)] = torch.from_numpy(~self.alive)
            self._open = closed, self.open_rows()[1]
        return self._open

    def codes(self) -> scan.Codes:
        """The stored codes as the kernel of `scan` reads them."""
        if self._codes is None:
            self._codes = scan.Codes.of(self.projection, self.columns)
        return self._codes

    def open_rows(self) -> tuple[int, int]:
        """Numbers of live rows and of cells that have some."""
        if self._live is None:
            self._live = int(self.alive.sum()), self.cells_of(np.flatnonzero(self.alive))
        return self._live

    def cells_of(self, positions: NDArray[np.int64]) -> int:
        """How many cells some rows are in; −1 counts too."""
        count = self.projection.field.n_anchors + 1
        return int(np.count_nonzero(np.bincount(self.columns.cell[positions] + 1, minlength=count)))

    def rows_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Decoded rows at positions (b, p); (b, p, d)."""
        flat = positions.reshape(-1)
        if self.keeps_rows:
            rows = self.decoded().index_select(0, flat)
        else:
            rows = self.decode(flat.cpu().numpy())
        return rows.view(*positions.shape, -1)

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


def _shared(values: NDArray[np.float32], device: torch.device) -> torch.Tensor:
    """A tensor of an array that nobody writes to, on CPUs without a copy."""
    if not values.flags.writeable:  # torch warns of these, as of memory that Arrow owns
        values = values.copy()
    return torch.from_numpy(values).to(device)
