"""What an energy field is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
