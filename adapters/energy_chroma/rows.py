"""Host ids, row numbers and vector fingerprints, and their packed chunks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy import EnergyColumns, packing
from energy_plugin.errors import CorruptFieldError

CHUNK_ROWS = 8_192
SHORT_SHARE = 0.95  # codes are stored at their own lengths where that takes at most this much


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
    """One chunk: ids, the four columns and the fingerprints, checksummed."""
    names = zlib.compress(json.dumps(list(ids), ensure_ascii=False).encode(), level=1)
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.frombuffer(names, dtype=np.uint8),
        "lambda": columns.lambda_,
        "dispersion": columns.dispersion,
        "cell": columns.cell,
        "fingerprint": fingerprints,
        **_shortened(columns.residual),
    }
    return packing.dumps(arrays, {"kind": "chroma rows"})


def unpack(blob: bytes) -> tuple[list[str], EnergyColumns, NDArray[np.uint32]]:
    """What `pack` packed.

    Raises
    ------
    CorruptFieldError
        Checksum or contents are wrong.
    """
    arrays, metadata = packing.loads(blob)
    if metadata.get("kind") != "chroma rows":
        raise CorruptFieldError(
            f"A chunk of energy columns was expected, got {metadata!r}. Call build() again."
        )
    ids = json.loads(zlib.decompress(arrays["ids"].tobytes()))
    columns = EnergyColumns(
        arrays["lambda"], arrays["dispersion"], arrays["cell"], _restored(arrays)
    )
    return ids, columns, arrays["fingerprint"]


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


def _restored(arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """What `_shortened` was given."""
    if "length" not in arrays:
        return arrays["residual"]
    lengths, width = arrays["length"], int(arrays["width"][0])
    codes = np.zeros((len(lengths), width), dtype=np.uint8)
    codes[np.arange(width) < lengths[:, None]] = arrays["residual"]
    return codes


def pack_all(
    ids: Sequence[str], columns: EnergyColumns, fingerprints: NDArray[np.uint32]
) -> Iterator[bytes]:
    """Chunks of at most 8,192 rows; one empty chunk where there are no rows."""
    for start in range(0, max(1, len(ids)), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        yield pack(ids[part], columns.take(part), fingerprints[part])


def unpack_all(
    blobs: Iterable[bytes],
) -> tuple[list[str], EnergyColumns, NDArray[np.uint32]]:
    """Rows of several chunks; of an id in two of them the later one counts.

    Raises
    ------
    CorruptFieldError
        See `unpack`.
    """
    parts = [unpack(blob) for blob in blobs]
    ids = [name for names, _, _ in parts for name in names]
    columns = EnergyColumns.concat([part for _, part, _ in parts])
    fingerprints = np.concatenate([values for _, _, values in parts])
    if len(set(ids)) < len(ids):
        last = {name: position for position, name in enumerate(ids)}
        keep = np.array(sorted(last.values()), dtype=np.int64)
        ids = [ids[position] for position in keep]
        columns, fingerprints = columns.take(keep), fingerprints[keep]
    return ids, columns, fingerprints
