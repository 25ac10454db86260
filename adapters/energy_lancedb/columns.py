"""Energy columns as Arrow columns.

============================ ======================= =======================================
column                       type                    value
============================ ======================= =======================================
``energy_lambda``            float32                 taumode λ
``energy_dispersion``        float32                 dispersion G
``energy_cell``              int32                   Voronoi cell
``energy_residual``          fixed_size_binary       residual code, then the 4 bytes of the
                             (code_bytes + 4)        vector's fingerprint, little-endian
============================ ======================= =======================================

All are nullable: a row without values was added by someone else, or has no vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns
from energy_plugin.errors import CorruptFieldError

NAMES = ("energy_lambda", "energy_dispersion", "energy_cell", "energy_residual")
FINGERPRINT_BYTES = 4


def fields_of(
    code_bytes: int, *, suffix: str = "", metadata: dict[str, str] | None = None
) -> list[pa.Field]:
    """The four Arrow fields; `metadata` goes to the residual."""
    types = (pa.float32(), pa.float32(), pa.int32(), pa.binary(code_bytes + FINGERPRINT_BYTES))
    return [
        pa.field(
            name + suffix, kind, nullable=True, metadata=metadata if name == NAMES[3] else None
        )
        for name, kind in zip(NAMES, types, strict=True)
    ]


def to_arrow(columns: EnergyColumns, fingerprints: NDArray[np.uint32]) -> list[pa.Array]:
    """The four columns of n rows as Arrow arrays without nulls."""
    n, code_bytes = columns.residual.shape
    packed = np.empty((n, code_bytes + FINGERPRINT_BYTES), dtype=np.uint8)
    packed[:, :code_bytes] = columns.residual
    packed[:, code_bytes:] = fingerprints.astype("<u4").view(np.uint8).reshape(n, -1)
    residual = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(code_bytes + FINGERPRINT_BYTES), n, [None, pa.py_buffer(packed)]
    )
    return [
        pa.array(columns.lambda_, pa.float32()),
        pa.array(columns.dispersion, pa.float32()),
        pa.array(columns.cell, pa.int32()),
        residual,
    ]


def from_arrow(table: pa.Table, code_bytes: int) -> tuple[EnergyColumns, NDArray[np.uint32]]:
    """The columns and the vectors' fingerprints of rows without nulls.

    Raises
    ------
    CorruptFieldError
        The residuals have another length than the field's.
    """
    wanted = code_bytes + FINGERPRINT_BYTES
    stored = table[NAMES[3]].combine_chunks()
    if not pa.types.is_fixed_size_binary(stored.type) or stored.type.byte_width != wanted:
        raise CorruptFieldError(
            f"energy_residual has the type {stored.type}, expected {wanted} bytes a row. "
            "Write a new field with EnergyTable(table).build()."
        )
    packed = _bytes_of(stored).reshape(len(stored), wanted)
    tail = np.ascontiguousarray(packed[:, code_bytes:]).view("<u4").reshape(-1)
    columns = EnergyColumns(
        table[NAMES[0]].to_numpy(),
        table[NAMES[1]].to_numpy(),
        table[NAMES[2]].to_numpy(),
        packed[:, :code_bytes],
    )
    return columns, tail.astype(np.uint32)


def _bytes_of(array: Any) -> NDArray[np.uint8]:
    width = array.type.byte_width
    start, stop = array.offset * width, (array.offset + len(array)) * width
    return np.frombuffer(array.buffers()[1], dtype=np.uint8)[start:stop]


def scatter(arrays: list[pa.Array], where: NDArray[np.int64], n: int) -> list[pa.Array]:
    """Spread arrays over n rows, null elsewhere; `where` holds the row of each value."""
    picks = np.full(n, -1, dtype=np.int64)
    picks[where] = np.arange(len(where))
    indices = pa.array(picks, mask=picks < 0)
    return [array.take(indices) for array in arrays]
