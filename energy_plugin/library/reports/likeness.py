"""How rows lie among themselves, by cosine: near-duplicates, rows on their own, hubs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DUPLICATE = 0.98  # cosine from which two rows are near-duplicates
NEAR = 10  # rows nearest to a row, in whose lists hubs are counted
HUB = 6  # times as many lists as the mean row
ALONE = 3.0  # robust standard deviations below the median
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Likeness:
    """Found by one pass over all pairs.

    Attributes
    ----------
    nearest : ndarray of shape (n,), float32
        Cosine of each row and its nearest other one.
    listed : ndarray of shape (n,), int64
        Rows that have this one among their nearest ten.
    groups : list of ndarray, int64
        Near-duplicates, the largest group first.
    """

    nearest: NDArray[np.float32]
    listed: NDArray[np.int64]
    groups: list[NDArray[np.int64]]

    @property
    def typical(self) -> float:
        """Median cosine of a row and its nearest other one."""
        return float(np.median(self.nearest))

    def alone(self) -> list[int]:
        """Rows far from every other one, the farthest first."""
        spread = 1.4826 * float(np.median(np.abs(self.nearest - self.typical)))
        order = np.argsort(self.nearest, kind="stable")
        limit = self.typical - ALONE * max(spread, 0.02)
        return [int(row) for row in order if self.nearest[row] < limit]

    def hubs(self) -> list[int]:
        """Rows near to very many others, the most listed first."""
        order = np.argsort(-self.listed, kind="stable")
        return [int(row) for row in order if self.listed[row] >= HUB * NEAR]


def likeness(unit: NDArray[np.float32]) -> Likeness:
    """Compare unit rows (n, d) with each other; n of at least 2."""
    n = len(unit)
    k = min(NEAR, n - 1)
    near = np.empty((n, k), dtype=np.int64)
    cosine = np.empty((n, k), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        block = unit[start : start + _BLOCK] @ unit.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -2.0
        found = np.argpartition(-block, k - 1, axis=1)[:, :k]
        near[start : start + _BLOCK] = found
        cosine[start : start + _BLOCK] = np.take_along_axis(block, found, axis=1)
    close = np.nonzero(cosine >= DUPLICATE)
    pairs = (close[0], near[close])
    graph = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    groups = sorted((part for part in parts if len(part) > 1), key=lambda part: -len(part))
    return Likeness(cosine.max(axis=1), np.bincount(near.ravel(), minlength=n), groups)
