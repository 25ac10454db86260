"""The two rankings compared: exact cosine, and the energy index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import measure

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyIndex

Rows = npt.NDArray[np.int64]


def rank_by_cosine(
    corpus: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], k: int
) -> Rows:
    """Rank by exact cosine, ties by row number.

    Parameters
    ----------
    corpus : ndarray of shape (n, d), float32
        Unit rows.
    queries : ndarray of shape (q, d), float32
        Unit rows.
    k : int
        Depth of the ranking, at most n is given.

    Returns
    -------
    ndarray of shape (q, min(k, n)), int64
        Row numbers, most similar first.
    """
    k = min(k, len(corpus))
    ranked = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), 256):  # 256 x n similarities at a time
        block = queries[start : start + 256] @ corpus.T
        ranked[start : start + 256] = np.argsort(-block, axis=1, kind="stable")[:, :k]
    return ranked


def cosine_ndcg(
    collection: JudgedCollection,
    corpus: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
) -> float:
    """nDCG@10 of a collection by exact cosine of unit rows."""
    return measure(collection, rank_by_cosine(corpus, queries, 100)).mean["ndcg@10"]


def rank_by_energy(index: EnergyIndex, queries: npt.NDArray[np.float32], k: int) -> Rows:
    """Rank by energy distance.

    Returns
    -------
    ndarray of shape (q, min(k, n)), int64
        Row numbers, nearest first.
    """
    return np.asarray(index.search(queries, k=k).ids, dtype=np.int64)


def fit_index(
    corpus: npt.NDArray[np.float32],
    config: EnergyConfig | None = None,
    *,
    show_progress_bar: bool = False,
) -> EnergyIndex:
    """Build the energy index of a corpus; row numbers are positions in `corpus`."""
    from energy_plugin.energy import EnergyIndex

    return EnergyIndex.fit(corpus, config, show_progress_bar=show_progress_bar)
