"""Energy columns as Arrow columns.

============================ ======================= =======================================
column                       type                    value
============================ ======================= =======================================
``energy_lambda``            float32                 taumode λ
``energy_dispersion``        float32                 dispersion G
``energy_cell``              int32                   Voronoi cell
``energy_residual``          fixed_size_binary       residual code, then 4 bytes that seal the
                             (code_bytes + 4)        row, little-endian
============================ ======================= =======================================

The seal is the exclusive or of three 32-bit values: the fingerprint of the row's vector, the
head of the SHA-256 of the field's bytes, and a digest of the row's own λ, G, cell and code. The
fingerprint comes out right only for values that were written for that vector, by that field, and
are unaltered; any other row is served from its own vector and rewritten.

The digest is the upper half of Σ w_i·c_i mod 2⁶⁴ over the 32-bit words of λ, G, cell and code,
c_i fixed odd numbers: zeros behind a code do not count.

All are nullable: a row without values was added by someone else, or has no vector. Where rows
have lost bit planes (`EnergyTable.forget`), the residual is of the type binary and each code is
as long as its planes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns
from energy_plugin.energy.codec.rotation import splitmix64
from energy_plugin.errors import CorruptFieldError, InvalidInputError

NAMES = ("energy_lambda", "energy_dispersion", "energy_cell", "energy_residual")
FINGERPRINT_BYTES = 4
BLOCK = 1 << 15  # rows whose words are multiplied at a time
SEED = 0x656E6572  # of the numbers that words are multiplied with
OWN = "energy:column"  # metadata of each column: ours, not a user's of the same name


@dataclass(frozen=True)
class RowFormat:
    """How a residual stands in its column."""

    dim: int
    code_bytes: int  # of the longest code
    mixed: bool = False  # codes of several lengths
    salt: int = 0  # 32 bits that tell fields apart

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
        seals = fingerprints ^ self._digests(columns)
        packed[:, self.code_bytes :] = seals.astype("<u4").view(np.uint8).reshape(n, -1)
        return [
            pa.array(columns.lambda_, pa.float32()),
            pa.array(columns.dispersion, pa.float32()),
            pa.array(columns.cell, pa.int32()),
            self._mixed(packed) if self.mixed else _fixed(packed),
        ]

    def _mixed(self, packed: NDArray[np.uint8]) -> pa.Array:
        lengths = self._lengths()[packed[:, 0]]
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

        A row that is altered, or of another field, has a wrong fingerprint.

        Raises
        ------
        CorruptFieldError
            The columns have other types, or the residuals another length than the field's.
        """
        for name, kind in zip(NAMES[:3], self.types(), strict=False):
            if table[name].type != kind or table[name].null_count:
                raise CorruptFieldError(
                    f"{name} has the type {table[name].type} with {table[name].null_count} nulls, "
                    f"expected {kind} without. Write a new field with EnergyTable(table).build()."
                )
        stored = table[NAMES[3]].combine_chunks()
        if self.mixed and pa.types.is_large_binary(stored.type):
            stored = stored.cast(pa.binary())
        if stored.type != self.types()[3]:
            raise CorruptFieldError(
                f"energy_residual has the type {stored.type}, expected {self.width} bytes per row. "
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
        return columns, tail.astype(np.uint32) ^ self._digests(columns)

    def _digests(self, columns: EnergyColumns) -> NDArray[np.uint32]:
        """What seals n rows beside the fingerprints of their vectors; (n,) uint32."""
        n, width = columns.residual.shape
        factors = splitmix64(SEED, 3 + -(-width // 4)) | np.uint64(1)
        out = np.empty(n, dtype=np.uint32)
        scalars = (columns.lambda_, columns.dispersion, columns.cell)
        for start in range(0, n, BLOCK):
            part = slice(start, start + BLOCK)
            codes = np.pad(columns.residual[part], ((0, 0), (0, -width % 4)))
            words = np.empty((len(codes), len(factors)), dtype=np.uint32)
            for place, values in enumerate(scalars):
                words[:, place] = values[part].view(np.uint32)
            words[:, 3:] = codes.view("<u4")
            out[part] = (words.astype(np.uint64) @ factors) >> np.uint64(32)
        return out ^ np.uint32(self.salt)

    def _padded(self, stored: Any) -> NDArray[np.uint8]:
        from energy_plugin.energy.codec.codes import HEADER_BYTES

        packed = np.zeros((len(stored), self.width), dtype=np.uint8)
        if len(stored) == 0:
            return packed
        ends = np.frombuffer(stored.buffers()[1], dtype=np.int32)
        ends = ends[stored.offset : stored.offset + len(stored) + 1].astype(np.int64)
        lengths = np.diff(ends) - FINGERPRINT_BYTES
        data = np.frombuffer(stored.buffers()[2] or b"", dtype=np.uint8)
        inside = ends[0] >= 0 and ends[-1] <= len(data)
        if not inside or lengths.min() < HEADER_BYTES or lengths.max() > self.code_bytes:
            raise CorruptFieldError(
                f"energy_residual has codes of {lengths.min()} to {lengths.max()} bytes, expected "
                f"{HEADER_BYTES} to {self.code_bytes}. Write a new field with "
                "EnergyTable(table).build()."
            )
        packed[self._used(lengths)] = data[ends[0] : ends[-1]]
        wrong = np.flatnonzero(lengths != self._lengths()[packed[:, 0]])
        if len(wrong):
            raise CorruptFieldError(
                f"energy_residual of {len(wrong)} rows is cut off or altered: one has "
                f"{lengths[wrong[0]]} bytes and names {packed[wrong[0], 0]} bit planes. Write a "
                "new field with EnergyTable(table).build()."
            )
        return packed

    def _lengths(self) -> NDArray[np.int64]:
        """Bytes of a code by the number of bit planes that it names; (256,)."""
        from energy_plugin.energy.codec.codes import code_bytes

        return np.array([code_bytes(self.dim, bits) for bits in range(256)])


def _fixed(packed: NDArray[np.uint8]) -> pa.Array:
    kind = pa.binary(packed.shape[1])
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(packed), [None, pa.py_buffer(packed)])


def _bytes_of(array: Any) -> NDArray[np.uint8]:
    width = array.type.byte_width
    start, stop = array.offset * width, (array.offset + len(array)) * width
    return np.frombuffer(array.buffers()[1], dtype=np.uint8)[start:stop].reshape(-1, width)


def refuse_expressions(texts: Iterable[Any], beside: set[str]) -> None:
    """Refuse conditions and expressions on energy columns that stand beside the table.

    Parameters
    ----------
    texts : iterable of str or lancedb.expr.Expr
    beside : set of str
        Names of energy columns that are not the table's.

    Raises
    ------
    InvalidInputError
    """
    for text in texts:
        written = text if isinstance(text, str) else str(getattr(text, "to_sql", lambda: "")())
        named = sorted(set(re.findall(r"\w+", written)) & beside)
        if named:
            raise InvalidInputError(
                f"{written!r} reads {named}, which are in a companion table. Select them by name, "
                "or store them in the table: EnergyTable(table).build(layout='columns')."
            )


def scatter(arrays: list[pa.Array], where: NDArray[np.int64], n: int) -> list[pa.Array]:
    """Spread arrays over n rows, null elsewhere; `where` holds the row of each value."""
    picks = np.full(n, -1, dtype=np.int64)
    picks[where] = np.arange(len(where))
    indices = pa.array(picks, mask=picks < 0)
    return [array.take(indices) for array in arrays]


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is that of a vector column."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))
