"""Host ids, row numbers and vector fingerprints, and their packed chunks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns
from energy_plugin.energy.codec import packing
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import CorruptFieldError, InvalidInputError

CHUNK_ROWS = 8_192
FORMAT_VERSION = 1
KIND = "chroma rows"
MOST_ID_BYTES = 1 << 28  # ids of one chunk
SHORT_SHARE = 0.95  # codes are stored at their own lengths where that takes at most this much

_DTYPES = {
    "ids": np.uint8,
    "lambda": np.float32,
    "dispersion": np.float32,
    "cell": np.int32,
    "fingerprint": np.uint32,
}


class RowMap:
    """Which host row stands behind which row number of the index.

    Parameters
    ----------
    ids : sequence of str
        Host ids of the rows 0, 1, 2, …
    fingerprints : ndarray of shape (n,), uint32
        Of each row's stored vector.
    """

    def __init__(self, ids: Sequence[str], fingerprints: NDArray[np.uint32]) -> None:
        self._row_of = dict(zip(ids, range(len(ids)), strict=True))
        self._id_of = list(ids)
        self._fingerprints = np.array(fingerprints, dtype=np.uint32)  # grown ahead of the rows

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, name: str) -> bool:
        return name in self._row_of

    @property
    def ids(self) -> list[str]:
        """Ids of the live rows, in the order of their row numbers."""
        if len(self._row_of) == len(self._id_of):  # no row has gone
            return list(self._id_of)
        return sorted(self._row_of, key=self._row_of.__getitem__)

    def are(self, ids: set[str]) -> bool:
        """Whether these are the ids of all live rows."""
        return self._row_of.keys() == ids

    def changed(
        self, ids: Sequence[str], fingerprints: NDArray[np.uint32]
    ) -> tuple[list[str], list[str]]:
        """Those of the ids that are not known, and those of another fingerprint."""
        numbers = [self._row_of.get(name, -1) for name in ids]
        if -1 not in numbers and (self._fingerprints[numbers] == fingerprints).all():
            return [], []
        added, changed = [], []
        for name, row, value in zip(ids, numbers, fingerprints.tolist(), strict=True):
            if row < 0:
                added.append(name)
            elif self._fingerprints[row] != value:
                changed.append(name)
        return added, changed

    def fingerprints(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Fingerprints of row numbers."""
        return self._fingerprints[rows]

    def names(self, rows: Iterable[int]) -> list[str]:
        """Ids of row numbers."""
        return [self._id_of[row] for row in rows]

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers of those ids that are known, ascending, each once."""
        known = (self._row_of[name] for name in ids if name in self._row_of)
        return np.unique(np.fromiter(known, dtype=np.int64))

    def numbers(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers of known ids, in their order."""
        return np.fromiter((self._row_of[name] for name in ids), dtype=np.int64)

    def assign(
        self, ids: Sequence[str], rows: NDArray[np.int64], fingerprints: NDArray[np.uint32]
    ) -> None:
        """Put ids on new row numbers; an id that had one leaves it."""
        top = int(rows.max(initial=-1)) + 1
        if top > len(self._id_of):
            self._id_of.extend([""] * (top - len(self._id_of)))
        if top > len(self._fingerprints):
            room = np.zeros(max(top, top + top // 2) - len(self._fingerprints), dtype=np.uint32)
            self._fingerprints = np.concatenate([self._fingerprints, room])
        self._fingerprints[rows] = fingerprints
        for name, row in zip(ids, rows.tolist(), strict=True):
            self._row_of[name] = row
            self._id_of[row] = name

    def forget(self, ids: Iterable[str]) -> None:
        """Drop ids, known ones."""
        for name in ids:
            del self._row_of[name]


def pack(ids: Sequence[str], columns: EnergyColumns, fingerprints: NDArray[np.uint32]) -> bytes:
    """One chunk: ids, the four columns and the fingerprints, checksummed.

    Raises
    ------
    InvalidInputError
        The ids take more bytes than a reader accepts.
    """
    text = json.dumps(list(ids), ensure_ascii=False).encode()
    if len(text) > MOST_ID_BYTES:
        raise InvalidInputError(
            f"The ids of {len(ids)} rows take {len(text)} bytes, expected at most {MOST_ID_BYTES}. "
            "Use shorter ids, or write fewer rows at once."
        )
    names = zlib.compress(text, level=1)
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.frombuffer(names, dtype=np.uint8),
        "lambda": columns.lambda_,
        "dispersion": columns.dispersion,
        "cell": columns.cell,
        "fingerprint": fingerprints,
        **_shortened(columns.residual),
    }
    metadata = {"kind": KIND, "format_version": str(FORMAT_VERSION)}
    return packing.dumps(arrays, {**metadata, "field": columns.field_id or ""})


def unpack(blob: bytes, dim: int) -> tuple[list[str], EnergyColumns, NDArray[np.uint32]]:
    """What `pack` packed, for vectors of `dim` dimensions.

    Raises
    ------
    CorruptFieldError
        Checksum, format version or contents are wrong.
    """
    arrays, metadata = packing.loads(blob)
    if metadata.get("kind") != KIND:
        raise CorruptFieldError(
            f"A chunk of energy columns was expected, got {metadata!r}. Call build() again."
        )
    packing.check_version(metadata, FORMAT_VERSION, "A chunk of energy columns")
    try:
        for name, dtype in _DTYPES.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                raise ValueError(f"{name} is {arrays[name].dtype}{list(arrays[name].shape)}")
        ids = _ids(arrays["ids"])
        lengths = {len(ids), *(len(arrays[name]) for name in _DTYPES if name != "ids")}
        if len(lengths) > 1:
            raise ValueError(f"its parts have {sorted(lengths)} rows")
        columns = EnergyColumns(
            arrays["lambda"],
            arrays["dispersion"],
            arrays["cell"],
            _restored(arrays, len(ids), dim),
            metadata.get("field") or None,
        )
    except (KeyError, ValueError, RecursionError, zlib.error) as error:
        raise CorruptFieldError(
            f"A chunk of energy columns is incomplete or altered ({error}). Call build() again."
        ) from error
    return ids, columns, arrays["fingerprint"]


def _ids(packed: NDArray[np.uint8]) -> list[str]:
    """Ids of a chunk, of no more bytes than `pack` writes."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed.tobytes(), MOST_ID_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError(f"its ids are cut off, or take more than {MOST_ID_BYTES} bytes")
    ids = json.loads(text)
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise ValueError("its ids are no list of strings")
    return ids


def _shortened(codes: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Codes without the zeros at their ends, where rows have lost planes and it pays.

    A code that has fewer planes than the column has room for ends in zeros.
    """
    n, width = codes.shape
    lengths = (width - (codes[:, ::-1] != 0).argmax(axis=1)).astype(np.uint16)
    lengths[~codes.any(axis=1)] = 0
    if int(lengths.sum()) + 2 * n > SHORT_SHARE * codes.size:
        return {"residual": codes}
    kept = codes[np.arange(width) < lengths[:, None]]
    return {"residual": kept, "length": lengths, "width": np.array([width], dtype=np.int64)}


def _restored(arrays: dict[str, NDArray[Any]], n: int, dim: int) -> NDArray[np.uint8]:
    """What `_shortened` was given: codes of n rows; checked before memory is taken."""
    from energy_plugin.energy.codec.codes import code_bytes

    short = "length" in arrays
    residual = arrays["residual"]
    width = int(arrays["width"].item()) if short else (0, *residual.shape)[-1]
    if width not in [code_bytes(dim, bits) for bits in BIT_CHOICES]:
        raise ValueError(f"codes of {width} bytes are none of {dim} dimensions")
    if not short:
        if residual.dtype != np.uint8 or residual.shape != (n, width):
            raise ValueError(f"codes are {residual.dtype}{list(residual.shape)} for {n} rows")
        return residual
    lengths = arrays["length"]
    if lengths.dtype != np.uint16 or lengths.shape != (n,) or lengths.max(initial=0) > width:
        raise ValueError(f"lengths of codes are {lengths.dtype}{list(lengths.shape)}")
    if residual.dtype != np.uint8 or residual.shape != (int(lengths.sum(dtype=np.int64)),):
        raise ValueError(f"codes are {residual.dtype}{list(residual.shape)}")
    codes = np.zeros((n, width), dtype=np.uint8)
    codes[np.arange(width) < lengths[:, None]] = residual
    return codes


def pack_all(
    ids: Sequence[str], columns: EnergyColumns, fingerprints: NDArray[np.uint32]
) -> Iterator[bytes]:
    """Chunks of at most 8,192 rows; one empty chunk where there are no rows."""
    for start in range(0, max(1, len(ids)), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        yield pack(ids[part], columns.take(part), fingerprints[part])


def unpack_all(
    blobs: Iterable[bytes], dim: int
) -> tuple[list[str], EnergyColumns, NDArray[np.uint32]]:
    """Rows of several chunks; of an id in two of them the later one counts.

    Raises
    ------
    CorruptFieldError
        See `unpack`; or no chunk, or chunks with codes of different lengths.
    ForeignFieldError
        Chunks of different fields.
    """
    parts = [unpack(blob, dim) for blob in blobs]
    widths = {part.residual.shape[1] for _, part, _ in parts}
    if len(widths) != 1:
        raise CorruptFieldError(
            f"{len(parts)} chunks of energy columns have codes of {sorted(widths)} bytes, expected "
            "one length. Call build() again."
        )
    ids = [name for names, _, _ in parts for name in names]
    columns = EnergyColumns.concat([part for _, part, _ in parts])
    fingerprints = np.concatenate([values for _, _, values in parts])
    if len(set(ids)) < len(ids):
        last = {name: position for position, name in enumerate(ids)}
        keep = np.array(sorted(last.values()), dtype=np.int64)
        ids = [ids[position] for position in keep]
        columns, fingerprints = columns.take(keep), fingerprints[keep]
    return ids, columns, fingerprints
