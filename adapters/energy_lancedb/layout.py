"""What the two ways of storing the energy columns have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.claims import Claims
from energy_lancedb.pointer import Pointer
from energy_plugin.energy import EnergyColumns
from energy_plugin.stored import Changes

# Columns of some rows from their row ids (n,) and vectors (n, d).
Encode = Callable[[NDArray[np.uint64], NDArray[np.float32]], EnergyColumns]


@dataclass(frozen=True, eq=False)
class FittedRows:
    """Rows of a field that was just fitted; all of length n.

    Parameters
    ----------
    version : int
        Version of the host table that the vectors were read from.
    rowids : ndarray of shape (n,), uint64
    keys : callable
        Gives the 64-bit hash of each vector, (n,) uint64, which only the companion needs.
    fingerprints : ndarray of shape (n,), uint32
    columns : EnergyColumns
    """

    version: int
    rowids: NDArray[np.uint64]
    keys: Callable[[], NDArray[np.uint64]]
    fingerprints: NDArray[np.uint32]
    columns: EnergyColumns


@dataclass(frozen=True, eq=False)
class LoadedRows:
    """Rows of a host table as they stand now.

    Parameters
    ----------
    rowids, columns, fingerprints
        Rows whose columns belong to their vector.
    stale : ndarray of shape (s,), uint64
        Rows that were added or changed without the plugin.
    stale_vectors : ndarray of shape (s, d), float32
        Their vectors, which they are served from.
    changed : ndarray of shape (s,), bool
        Which of them have columns, of another vector or field; the others have none.
    emptied : ndarray of shape (e,), uint64
        Rows that have columns but lost their vector.
    without_vector : int
        Rows that have none (the emptied ones among them), and are in no result.
    """

    rowids: NDArray[np.uint64]
    columns: EnergyColumns
    fingerprints: NDArray[np.uint32]
    stale: NDArray[np.uint64]
    stale_vectors: NDArray[np.float32]
    changed: NDArray[np.bool_]
    emptied: NDArray[np.uint64]
    without_vector: int

    @property
    def pending(self) -> Changes:
        """Rows that wait for `EnergyTable.refresh`, by ``_rowid``."""
        return Changes(
            added=tuple(self.stale[~self.changed].tolist()),
            removed=tuple(self.emptied.tolist()),
            changed=tuple(self.stale[self.changed].tolist()),
        )


class Layout(Protocol):
    """Where the energy columns of a table live."""

    def publish(self, pointer: Pointer, rows: Any) -> Pointer | None:
        """Write a new generation and make it the current one; returns the one it replaced.

        `rows` are `FittedRows`, and for the columns of the table itself also `SampledRows`.
        """

    def load(self, pointer: Pointer) -> LoadedRows:
        """Read the current generation at the current version."""

    def catch_up(self, pointer: Pointer, encode: Encode) -> Changes:
        """Write the columns of rows that are behind; returns which."""

    def drop_outdated(self, current: Pointer, replaced: Pointer | None, claims: Claims) -> None:
        """Drop what stands beside the host's table and nobody points to any more."""

    def adopt(self, pointer: Pointer, own: Pointer) -> None:
        """Copy what stands beside another table, and make `own` the pointer of this one."""

    def clean(self, pointer: Pointer, older_than: timedelta | None) -> None:
        """Remove old versions of tables that the layout keeps beside the host's."""

    def revive(self, pointer: Pointer) -> None:
        """Write back what only older versions of such tables hold."""

    def tidy(self) -> None:
        """Remove what broken-off builds left, and index what should be."""

    def leftovers(self) -> list[str]:
        """What `tidy` would do, in words."""

    def drop(self, claims: Claims) -> None:
        """Remove columns and pointer."""


def match(known: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Position in `known` of each element of `wanted`, and whether it is there.

    Where several elements of `known` are equal, the first is taken.
    """
    if len(known) == 0:
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    order = np.argsort(known, kind="stable")
    slots = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    positions = order[slots].astype(np.int64)
    return positions, known[positions] == wanted
