"""What an energy field is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energy_lancedb.columns import FINGERPRINT_BYTES

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot

SCALAR_BYTES = 12  # λ, G and cell


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
    row_bytes: int  # of the four columns, the 4 bytes of the fingerprint in the last one included
    n_fitted: int  # rows that the field was fitted on
    embedder: str | None  # fingerprint of the table's embedding function
    config: dict[str, Any]

    @classmethod
    def of(cls, snapshot: Snapshot) -> EnergyInfo:
        """Describe what a snapshot holds."""
        pointer = snapshot.pointer
        return cls(
            generation=pointer.generation,
            layout=pointer.layout,
            vector_column=pointer.vector_column,
            dim=pointer.dim,
            rows=len(snapshot),
            stale=snapshot.stale,
            without_vector=snapshot.without_vector,
            row_bytes=SCALAR_BYTES + pointer.code_bytes + FINGERPRINT_BYTES,
            n_fitted=pointer.n_fitted,
            embedder=pointer.embedder,
            config=dict(pointer.config),
        )
