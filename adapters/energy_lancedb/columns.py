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

All are nullable: a row without values was added by someone else, or has no vector. Where rows
have lost bit planes (`EnergyTable.forget`), the residual is of the type binary and each code is
as long as its planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns
from energy_plugin.errors import CorruptFieldError

NAMES = ("energy_lambda", "energy_dispersion", "energy_cell", "energy_residual")
FINGERPRINT_BYTES = 4
OWN = "energy:column"  # metadata of each column: ours, not a user's of the same name


@dataclass(frozen=True)
class RowFormat:
    """How a residual stands in its column."""

    dim: int
    code_bytes: int  # of the longest code
    mixed: bool = False  # codes of several lengths

    @property
    def width(self) -> int:
        """Bytes of the longest value."""
        return self.code_bytes + FINGERPRINT_BYTES

    def types(self) -> list[pa.DataType]:
        """Arrow types of the four columns."""
        residual = pa.binary() if self.mixed else pa.binary(self.width)
        return [pa.float32(), pa.float32(), pa.int32(), residual]

    def fields(self, *, suffix: str = "", metadata: dict[str, str] | None = None) -> list[pa.Field]:
        """The four Arrow fields; `metadata` goes to the residual."""
        own = [{OWN: "1"}] * 3 + [{OWN: "1", **(metadata or {})}]
        return [
            pa.field(name + suffix, kind, nullable=True, metadata=each)
            for name, kind, each in zip(NAMES, self.types(), own, strict=True)
        ]

    def to_arrow(self, columns: EnergyColumns, fingerprints: NDArray[np.uint32]) -> list[pa.Array]:
        """The four columns of n rows as Arrow arrays without nulls."""
        n = len(columns)
        packed = np.empty((n, self.width), dtype=np.uint8)
        packed[:, : self.code_bytes] = columns.residual
        packed[:, self.code_bytes :] = fingerprints.astype("<u4").view(np.uint8).reshape(n, -1)
        return [
            pa.array(columns.lambda_, pa.float32()),
            pa.array(columns.dispersion, pa.float32()),
            pa.array(columns.cell, pa.int32()),
            self._mixed(packed) if self.mixed else _fixed(packed),
        ]

    def _mixed(self, packed: NDArray[np.uint8]) -> pa.Array:
        from energy_plugin.energy.codes import code_bytes

        lengths = np.array([code_bytes(self.dim, bits) for bits in range(256)])[packed[:, 0]]
        ends = np.concatenate([[0], np.cumsum(lengths + FINGERPRINT_BYTES)])
        data = packed[self._used(lengths)]
        if ends[-1] >= 1 << 31:
            values = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), len(packed), [None, pa.py_buffer(ends), pa.py_buffer(data)]
            )
            return values.cast(pa.binary())  # refused by Arrow, in words of its own
        offsets = pa.py_buffer(ends.astype(np.int32))
        return pa.BinaryArray.from_buffers(
            pa.binary(), len(packed), [None, offsets, pa.py_buffer(data)]
        )

    def _used(self, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which bytes of padded rows are stored: codes of these lengths, and fingerprints."""
        used = np.arange(self.width) < lengths[:, None]
        used[:, self.code_bytes :] = True
        return used

    def from_arrow(self, table: pa.Table) -> tuple[EnergyColumns, NDArray[np.uint32]]:
        """The columns and the vectors' fingerprints of rows without nulls.

        Raises
        ------
        CorruptFieldError
            The residuals have another length than the field's.
        """
        stored = table[NAMES[3]].combine_chunks()
        if self.mixed and pa.types.is_large_binary(stored.type):
            stored = stored.cast(pa.binary())
        if stored.type != self.types()[3]:
            raise CorruptFieldError(
                f"energy_residual has the type {stored.type}, expected {self.width} bytes a row. "
                "Write a new field with EnergyTable(table).build()."
            )
        packed = self._padded(stored) if self.mixed else _bytes_of(stored)
        tail = np.ascontiguousarray(packed[:, self.code_bytes :]).view("<u4").reshape(-1)
        columns = EnergyColumns(
            table[NAMES[0]].to_numpy(),
            table[NAMES[1]].to_numpy(),
            table[NAMES[2]].to_numpy(),
            packed[:, : self.code_bytes],
        )
        return columns, tail.astype(np.uint32)

    def _padded(self, stored: Any) -> NDArray[np.uint8]:
        from energy_plugin.energy.codes import HEADER_BYTES

        ends = np.frombuffer(stored.buffers()[1], dtype=np.int32)
        ends = ends[stored.offset : stored.offset + len(stored) + 1].astype(np.int64)
        lengths = np.diff(ends) - FINGERPRINT_BYTES
        packed = np.zeros((len(stored), self.width), dtype=np.uint8)
        if len(stored) == 0:
            return packed
        if lengths.min() < HEADER_BYTES or lengths.max() > self.code_bytes:
            raise CorruptFieldError(
                f"energy_residual has codes of {lengths.min()} to {lengths.max()} bytes, expected "
                f"{HEADER_BYTES} to {self.code_bytes}. Write a new field with "
                "EnergyTable(table).build()."
            )
        data = np.frombuffer(stored.buffers()[2], dtype=np.uint8)
        packed[self._used(lengths)] = data[ends[0] : ends[-1]]
        return packed


def _fixed(packed: NDArray[np.uint8]) -> pa.Array:
    kind = pa.binary(packed.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(packed), [None, pa.py_buffer(packed)])


def _bytes_of(array: Any) -> NDArray[np.uint8]:
    width = array.type.byte_width
    start, stop = array.offset * width, (array.offset + len(array)) * width
    return np.frombuffer(array.buffers()[1], dtype=np.uint8)[start:stop].reshape(-1, width)


def scatter(arrays: list[pa.Array], where: NDArray[np.int64], n: int) -> list[pa.Array]:
    """Spread arrays over n rows, null elsewhere; `where` holds the row of each value."""
    picks = np.full(n, -1, dtype=np.int64)
    picks[where] = np.arange(len(where))
    indices = pa.array(picks, mask=picks < 0)
    return [array.take(indices) for array in arrays]
