"""Rows near a stored row, and groups of near-duplicates: by the heated rows that codes hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from energy_plugin.energy.blocks import blocks
from energy_plugin.energy.distance import dirichlet
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k

# Similarity in the metric from which rows count as copies. Of MiniLM vectors (cranfield, MEDLINE,
# SciFact) equal rows lie above .999, rows at cosine .989 above .965, 99 % of others below .9.
DUPLICATE = 0.95


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Rows near one row.

    Parameters
    ----------
    ids : ndarray of shape (k,), int64
        Row numbers, nearest first; never the row itself.
    distances : ndarray of shape (k,), float32
        Ascending: D of the energy distance, or the gap in λ of a search by λ.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


def place_of(store: RowStore, row: Any) -> int:
    """Position of a live row.

    Raises
    ------
    InvalidInputError
        Not the number of a live row.
    """
    whole = isinstance(row, int | np.integer) and not isinstance(row, bool)
    found = store.positions(np.array([row], dtype=np.int64)) if whole else np.empty(0, np.int64)
    if len(found) == 0:
        raise InvalidInputError(
            f"row is {row!r}, which is not in the index. Pass a number that is in index.rows."
        )
    return int(found[0])


def neighbours(store: RowStore, row: Any, k: int) -> Neighbours:
    """The k live rows nearest to a stored row; see `EnergyIndex.neighbours`."""
    place = place_of(store, row)
    live = np.flatnonzero(store.alive)
    live = live[live != place]
    k = min(as_k(k), len(live))
    own = store.decode(np.array([place]))[0]
    similarity = np.empty(len(live), dtype=np.float32)
    for part in blocks(len(live), len(own)):
        similarity[part] = (store.take(live[part]) @ own).cpu().numpy()
    order = np.lexsort((store.numbers[live], -similarity))[:k]
    distances = dirichlet(torch.from_numpy(similarity[order])).numpy()
    return Neighbours(store.numbers[live[order]], distances)


def nearest_in_lambda(store: RowStore, value: float, k: int, but: int | None) -> Neighbours:
    """The k live rows whose λ is nearest to a value; see `EnergyIndex.search_lambda`."""
    live = np.flatnonzero(store.alive)
    if but is not None:
        live = live[live != but]
    gap = np.abs(store.columns.lambda_[live].astype(np.float64) - value)
    order = np.lexsort((store.numbers[live], gap))[: as_k(k)]
    return Neighbours(store.numbers[live[order]], gap[order].astype(np.float32))


def duplicates(store: RowStore, threshold: float) -> list[NDArray[np.int64]]:
    """Groups of rows that are near-copies of one another; see `EnergyIndex.duplicates`."""
    if isinstance(threshold, bool) or not 0 < threshold <= 1:
        raise InvalidInputError(
            f"threshold is {threshold!r}, expected a similarity above 0 and at most 1, such as "
            f"{DUPLICATE}"
        )
    live = np.flatnonzero(store.alive)
    n = len(live)
    if n == 0:
        return []
    rows = store.take(live)  # (n, d)
    left, right = [], []
    for part in blocks(n, n):
        close = (rows[part] @ rows[part.start :].T >= threshold - 1e-6).nonzero().cpu().numpy()
        later = close[:, 1] > close[:, 0]  # pairs once, and no row with itself
        left.append(close[later, 0] + part.start)
        right.append(close[later, 1] + part.start)
    pairs = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    cuts = np.flatnonzero(np.diff(label[order])) + 1
    groups = [store.numbers[live[group]] for group in np.split(order, cuts) if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))
