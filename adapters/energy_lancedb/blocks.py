"""Vectors of a table a block at a time, for what must not hold them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.companion_layout import WRITE_BYTES
from energy_lancedb.host import ROWID, Host, HostVectors, in_order, prints_of, vectors_of
from energy_lancedb.keys import keys_of
from energy_lancedb.layout import FittedRows

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField
    from energy_plugin.energy.fit.budget import Plan

HOST_BYTES = 32 << 20  # that LanceDB itself takes while it reads and writes, measured
HOST_ROWS = 10_000  # vectors that it holds beside
WRITES = 6  # copies of what the companion hands over at a time
READ_VALUES = 1 << 18  # floats that are read at a time for fingerprints and keys alone
NUMBERS = 64  # bytes of a row's number, key and fingerprint, with their copies


class HostRows:
    """Vectors of rows of a table, read when they are asked for; shape (n, d).

    Parameters
    ----------
    host : Host
    column : str
    dim : int
    rowids : ndarray of shape (n,), uint64
        Ascending.
    """

    def __init__(self, host: Host, column: str, dim: int, rowids: NDArray[np.uint64]) -> None:
        self._host = host
        self._column = column
        self.rowids = rowids
        self.shape = (len(rowids), dim)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: slice) -> HostVectors:
        """Those of some rows that are there, and have a vector."""
        wanted = self.rowids[rows].tolist()
        found = self._host.table.take_row_ids(wanted).select([self._column, ROWID]).to_arrow()
        return in_order(vectors_of(found, self._column, self.shape[1]))

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        found = self.take(rows)
        if len(found.rowids) < len(self.rowids[rows]):
            raise RuntimeError(f"Table {self._host.name!r} changed while it was read. Try again.")
        return found.matrix

    def numbers(self) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Fingerprints and `keys_of` all vectors; (n,) each."""
        prints = np.empty(len(self), dtype=np.uint32)
        keys = np.empty(len(self), dtype=np.uint64)
        step = max(1, READ_VALUES // self.shape[1])
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            matrix = self[part]
            prints[part], keys[part] = prints_of(matrix), keys_of(matrix)
        return prints, keys


def host_bytes(layout: str, rows: int, dim: int, config: EnergyConfig) -> int:
    """Bytes that a build takes beside the fit and the rows' columns."""
    from energy_plugin.energy.codec.codes import code_bytes

    own = HOST_BYTES + 4 * dim * min(rows, HOST_ROWS) + NUMBERS * rows
    if layout == "companion":
        own += WRITES * min(WRITE_BYTES, rows * code_bytes(dim, config.bits))
    return own


def plan_of(limit: int, layout: str, rows: int, dim: int, config: EnergyConfig) -> Plan:
    """How to build under a limit; the columns of the table itself are never held all at once."""
    from energy_plugin.energy.fit import budget

    kept = None if layout == "companion" else 0
    host = host_bytes(layout, rows, dim, config)
    return budget.plan(rows, dim, config, limit, kept_row_bytes=kept, host=host)


def fitted_rows(
    source: HostRows,
    plan: Plan,
    version: int,
    config: EnergyConfig,
    *,
    device: str | None,
    show_progress_bar: bool,
) -> tuple[EnergyField, FittedRows]:
    """A field fitted in passes, and its rows for a layout that takes all of them at once."""
    from energy_plugin.energy.fit.streaming import fit_in_passes

    seen: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]] = []

    def read(rows: int) -> Iterator[NDArray[np.float32]]:
        seen.clear()
        for start in range(0, len(source), rows):
            found = source.take(slice(start, start + rows))
            if len(found.rowids):
                numbers = found.rowids.copy(), keys_of(found.matrix), prints_of(found.matrix)
                seen.append(numbers)
                yield found.matrix

    field, columns = fit_in_passes(
        read, plan, len(source), config, device=device, show_progress_bar=show_progress_bar
    )
    rowids, keys, prints = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    rows = FittedRows(
        version=version, rowids=rowids, keys=lambda: keys, fingerprints=prints, columns=columns
    )
    return field, rows
