"""What an energy field is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot


@dataclass(frozen=True)
class EnergyInfo:
    """What a table's energy field is made of."""

    generation: int
    layout: str  # "columns" or "companion"
    vector_column: str
    dim: int
    rows: int  # in results
    stale: int  # of these, added or changed without the plugin: refresh() writes their columns
    without_vector: int  # rows in no result
    row_bytes: float  # bytes a row of the four columns
    n_fitted: int  # rows that the field was fitted on
    embedder: str | None  # fingerprint of the table's embedding function
    config: dict[str, Any]

    @classmethod
    def of(cls, snapshot: Snapshot) -> EnergyInfo:
        """Describe what a snapshot holds."""
        pointer, columns = snapshot.pointer, snapshot.index.columns
        return cls(
            generation=pointer.generation,
            layout=pointer.layout,
            vector_column=pointer.vector_column,
            dim=pointer.dim,
            rows=len(snapshot),
            stale=snapshot.stale,
            without_vector=snapshot.without_vector,
            row_bytes=columns.nbytes / len(columns) if len(columns) else 0.0,
            n_fitted=pointer.n_fitted,
            embedder=pointer.embedder,
            config=dict(pointer.config),
        )
