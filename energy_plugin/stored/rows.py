"""Which row of the host stands behind which row number of an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowMap:
    """Which host row stands behind which row number of the index.

    Parameters
    ----------
    ids : sequence of hashable
        Host ids of the rows 0, 1, 2, …
    fingerprints : ndarray of shape (n,), uint32
        Of each row's stored vector.
    """

    def __init__(self, ids: Sequence[Any], fingerprints: NDArray[np.uint32]) -> None:
        self._row_of = dict(zip(ids, range(len(ids)), strict=True))
        self._id_of = list(ids)
        self._fingerprints = np.array(fingerprints, dtype=np.uint32)  # grown ahead of the rows

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, name: Any) -> bool:
        return name in self._row_of

    @property
    def ids(self) -> list[Any]:
        """Ids of the live rows, in the order of their row numbers."""
        if len(self._row_of) == len(self._id_of):  # no row has gone
            return list(self._id_of)
        return sorted(self._row_of, key=self._row_of.__getitem__)

    def are(self, ids: set[Any]) -> bool:
        """Whether these are the ids of all live rows."""
        return self._row_of.keys() == ids

    def changed(
        self, ids: Sequence[Any], fingerprints: NDArray[np.uint32]
    ) -> tuple[list[Any], list[Any]]:
        """Those of the ids that are not known, and those of another fingerprint."""
        numbers = self.places(ids)
        if (numbers >= 0).all() and (self._fingerprints[numbers] == fingerprints).all():
            return [], []
        added, changed = [], []
        for name, row, value in zip(ids, numbers.tolist(), fingerprints.tolist(), strict=True):
            if row < 0:
                added.append(name)
            elif self._fingerprints[row] != value:
                changed.append(name)
        return added, changed

    def fingerprints(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Fingerprints of row numbers."""
        return self._fingerprints[rows]

    def names(self, rows: Iterable[int]) -> list[Any]:
        """Ids of row numbers."""
        return [self._id_of[row] for row in rows]

    def rows(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Row numbers of those ids that are known, ascending, each once."""
        known = (self._row_of[name] for name in ids if name in self._row_of)
        return np.unique(np.fromiter(known, dtype=np.int64))

    def numbers(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Row numbers of known ids, in their order."""
        return np.fromiter((self._row_of[name] for name in ids), dtype=np.int64)

    def places(self, ids: Sequence[Any]) -> NDArray[np.int64]:
        """Row numbers of ids, in their order; -1 for those that are not known."""
        return np.array([self._row_of.get(name, -1) for name in ids], dtype=np.int64)

    def assign(
        self, ids: Sequence[Any], rows: NDArray[np.int64], fingerprints: NDArray[np.uint32]
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

    def forget(self, ids: Iterable[Any]) -> None:
        """Drop ids, known ones."""
        for name in ids:
            del self._row_of[name]
