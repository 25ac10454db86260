"""What is wrong with a stored field, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.host import prints_of
from energy_lancedb.layout import layout_of
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot
    from energy_lancedb.table import EnergyTable

TOLERANCE = 1e-4  # of λ and G, which the same vector and field give again to 1e-6


@dataclass(frozen=True)
class Finding:
    """One thing that `EnergyTable.verify` found."""

    kind: str  # "field", "history", "values", "pending" or "leftover"
    message: str
    remedy: str  # the call that mends it
    rows: int = 0  # how many rows are concerned


def findings_of(energy: EnergyTable) -> Iterator[Finding]:
    """See `EnergyTable.verify`."""
    try:
        snapshot, vectors = energy.snapshot_and_vectors()
    except (NotBuiltError, ForeignFieldError, CorruptFieldError, InvalidInputError) as error:
        yield Finding("field", str(error), "repair(rebuild=True)")
        return
    pointer = snapshot.pointer
    if not energy.artefacts(pointer.artefacts).has(pointer):
        message = (
            f"The field of generation {pointer.generation} stands only in an older version of "
            f"{pointer.artefacts!r}, which a cleaning removes."
        )
        yield Finding("history", message, "repair()")
    wrong = wrong_rows(snapshot, vectors)
    if len(wrong):
        message = f"{len(wrong)} rows have columns that are altered or of another vector or field."
        yield Finding("values", message, "repair()", len(wrong))
    if snapshot.stale:
        message = f"{snapshot.stale} rows were added or changed without the plugin."
        yield Finding("pending", message, "refresh()", snapshot.stale)
    for message in layout_of(pointer.layout, energy.host).leftovers():
        yield Finding("leftover", message, "repair()")


def wrong_rows(snapshot: Snapshot, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions among the live rows whose seal is broken, or whose λ or G is another."""
    if len(vectors) == 0:
        return np.empty(0, dtype=np.int64)
    columns = snapshot.index.columns
    lambda_, dispersion = snapshot.field.taumode(vectors)
    off = np.abs(columns.lambda_ - lambda_) > TOLERANCE
    off |= np.abs(columns.dispersion - dispersion) > TOLERANCE
    off |= snapshot.fingerprints[snapshot.index.rows] != prints_of(vectors)
    return np.flatnonzero(off)
