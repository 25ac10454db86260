"""What an energy field is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energy_lancedb.columns import FINGERPRINT_BYTES

if TYPE_CHECKING:
    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import Drift

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
    row_bytes: int  # of the four columns, with all planes and the fingerprint in the last one
    n_fitted: int  # rows that the field was fitted on
    embedder: str | None  # fingerprint of the table's embedding function
    config: dict[str, Any]
    version: int  # of the table
    column_bytes: int  # of the energy columns of all rows
    field_bytes: int  # of the field
    drift: Drift  # how far the rows have moved from what the field was fitted on
    fidelity: dict[int, int]  # rows by residual bits: fewer than the field's after forget()

    @classmethod
    def of(cls, snapshot: Snapshot) -> EnergyInfo:
        """Describe what a snapshot holds."""
        from energy_plugin.energy.codec.codes import code_bytes, stored_bits

        pointer = snapshot.pointer
        bits = stored_bits(snapshot.index.columns.residual, pointer.dim)
        fidelity = Counter(bits.tolist())
        codes = sum(code_bytes(pointer.dim, b) * count for b, count in fidelity.items())
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
            version=snapshot.version,
            column_bytes=codes + len(snapshot) * (SCALAR_BYTES + FINGERPRINT_BYTES),
            field_bytes=len(snapshot.field.to_bytes()),
            drift=snapshot.index.drift(),
            fidelity=dict(sorted(fidelity.items())),
        )
