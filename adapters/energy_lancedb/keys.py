"""Keys of a table's rows: the hash of each vector, read once a data file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.host import ROWID, Host, vectors_of

ADDRESS = "_rowaddr"
FRAGMENT_SHIFT = np.uint64(32)  # a row address is fragment << 32 | offset
OFFSET_MASK = np.uint64((1 << 32) - 1)
UNREAD, WITHOUT, READ = 0, 1, 2


def keys_of(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """64-bit hash of each row's float32 bytes; −0 counts as 0."""
    matrix = np.ascontiguousarray(vectors + np.float32(0.0), dtype="<f4")
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in matrix)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class RowKeys:
    """Rows of one version of a table.

    Parameters
    ----------
    rowids, keys : ndarray of shape (n,), uint64
        Rows that have a vector.
    without : int
        Rows that have none.
    """

    rowids: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    without: int


class KeyMemory:
    """Keys by data file. A data file never changes, so its vectors are read once.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._files: dict[tuple[str, int], tuple[NDArray[np.uint64], NDArray[np.uint8]]] = {}

    def read(self, column: str, dim: int) -> RowKeys:
        """Keys of all rows of the version at hand, by ascending row id."""
        if not self._host.has_dataset():
            found = self._host.vectors(column, dim)
            return RowKeys(found.rowids, keys_of(found.matrix), len(found.without))
        dataset = self._host.dataset()
        field = dataset.lance_schema.field(column).id()
        fragments = {one.fragment_id: one for one in dataset.get_fragments()}
        places = {number: (file_of(one, field), field) for number, one in fragments.items()}
        self._files = {  # files that the table has no more are forgotten
            place: self._files[place] for place in places.values() if place in self._files
        }
        rows = dataset.scanner(columns=[], with_row_id=True, with_row_address=True).to_table()
        rowids = rows[ROWID].to_numpy().astype(np.uint64)
        addresses = rows[ADDRESS].to_numpy().astype(np.uint64)
        numbers = (addresses >> FRAGMENT_SHIFT).astype(np.int64)
        offsets = (addresses & OFFSET_MASK).astype(np.int64)
        keys = np.empty(len(rowids), dtype=np.uint64)
        states = np.empty(len(rowids), dtype=np.uint8)
        by_fragment = np.argsort(numbers, kind="stable")
        present, starts = np.unique(numbers[by_fragment], return_index=True)
        for number, mine in zip(present, np.split(by_fragment, starts)[1:], strict=True):
            place = places[int(number)]
            kept = self._files.get(place)
            if kept is None or (kept[1][offsets[mine]] == UNREAD).any():
                kept = _read(dataset, fragments[int(number)], column, dim)
                if place[0]:  # else something lies over the file
                    self._files[place] = kept
            keys[mine], states[mine] = (part[offsets[mine]] for part in kept)
        has = states == READ
        order = np.argsort(rowids[has], kind="stable")
        return RowKeys(rowids[has][order], keys[has][order], int((~has).sum()))


def file_of(fragment: Any, field: int) -> str:
    """Name of the data file that holds a field; empty if something lies over it."""
    if getattr(fragment.metadata, "overlays", None):
        return ""
    holders = [item.path for item in fragment.data_files() if field in item.fields]
    return holders[-1] if holders else ""


def _read(
    dataset: Any, fragment: Any, column: str, dim: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Key and state of each place of a fragment; places of deleted rows stay unread."""
    scanner = dataset.scanner(columns=[column], fragments=[fragment], with_row_address=True)
    found = scanner.to_table()
    numbered = found.select([column]).append_column(ROWID, pa.array(found[ADDRESS]))
    vectors = vectors_of(numbered, column, dim)
    keys = np.zeros(fragment.physical_rows, dtype=np.uint64)
    states = np.zeros(fragment.physical_rows, dtype=np.uint8)
    places = (vectors.rowids & OFFSET_MASK).astype(np.int64)
    keys[places], states[places] = keys_of(vectors.matrix), READ
    states[(vectors.without & OFFSET_MASK).astype(np.int64)] = WITHOUT
    return keys, states
