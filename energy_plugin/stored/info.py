"""What a stored field is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energy_plugin.stored.changes import Changes

if TYPE_CHECKING:
    from energy_plugin.energy import Drift, EnergyIndex

SCALAR_BYTES = 12  # λ, G and cell
FINGERPRINT_BYTES = 4


@dataclass(frozen=True)
class FieldInfo:
    """What `info` of a table or collection returns."""

    name: str  # of the table or collection
    rows: int  # in results
    dim: int
    generation: int  # of the stored field
    version: int  # of what is stored, counted as the host does
    layout: str  # where the columns stand: "columns", "companion", "companion and metadata"
    n_anchors: int  # cells of the field
    bits: int  # residual bits a dimension of a new row
    n_fitted: int  # rows that the field was fitted on
    config: dict[str, Any]
    embedder: str | None  # identity of what embedded the rows; None where the host knows none
    field_bytes: int  # of the field
    column_bytes: int  # of the energy columns of all rows, as they are stored
    row_bytes: int  # of the columns of one row with all its planes, fingerprint included
    fidelity: dict[int, int]  # rows by residual bits: fewer than `bits` after forget()
    drift: Drift  # how far the rows have moved from what the field was fitted on
    pending: Changes  # rows served from their own vector until refresh()
    without_vector: int  # rows in no result, as they have no vector, or none that can be read
    vector_column: str | None = None  # LanceDB: the column that the field was built on
    chunks: int | None = None  # Chroma: records that hold the columns
    words: str | None = None  # language of the stored words, None without any
    word_bytes: int = 0  # of the words of all documents, as they are stored

    @property
    def bytes(self) -> int:
        """Field, columns and words together."""
        return self.field_bytes + self.column_bytes + self.word_bytes


def column_bytes_of(known: dict[str, Any]) -> int:
    """Bytes of all rows' columns where each code is as long as its planes; of `described`."""
    from energy_plugin.energy.codec.codes import code_bytes

    codes = sum(code_bytes(known["dim"], bits) * n for bits, n in known["fidelity"].items())
    return int(codes) + known["rows"] * (SCALAR_BYTES + FINGERPRINT_BYTES)


def described(index: EnergyIndex) -> dict[str, Any]:
    """Those values of a `FieldInfo` that the index in memory knows."""
    from energy_plugin.energy.codec.codes import code_bytes, stored_bits

    field = index.field
    bits = stored_bits(index.columns.residual, field.dim)
    return {
        "rows": len(index),
        "dim": field.dim,
        "n_anchors": field.n_anchors,
        "bits": field.config.bits,
        "n_fitted": field.n_fitted,
        "config": field.config.to_dict(),
        "row_bytes": SCALAR_BYTES + code_bytes(field.dim, field.config.bits) + FINGERPRINT_BYTES,
        "fidelity": dict(sorted(Counter(bits.tolist()).items())),
        "drift": index.drift(),
    }
