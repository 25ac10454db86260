"""Rows that Chroma's own search cannot reach any more, and the way back into its graph.

Chroma's graph only marks what is deleted and moves what is updated; some live rows lose every edge
that leads to them (chroma-core/chroma#7758). ``get`` still reads them, and energy ranks them: its
field holds every row. Only Chroma's own ``query`` misses them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from chromadb.errors import InternalError
from numpy.typing import NDArray

from energy_plugin.stored.moments import Moment, reached

if TYPE_CHECKING:
    from energy_chroma.host import ChromaHost

logger = logging.getLogger(__name__)

BLOCK = 200  # queries of one request
FIRST, SECOND = 10, 100  # results that a row has to be among, if it asks by its own vector
MOST = 20_000  # rows that are looked at; of more an even sample
ROUNDS = 6  # each brings rows back and may push others out


def sample(count: int) -> NDArray[np.int64]:
    """Places of the rows to look at, all of up to `MOST`."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(np.int64))


def unreachable(
    host: ChromaHost, names: Sequence[str], vectors: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Places of the rows that a query with their own vector does not find.

    A row with many exact copies may stand behind them; it counts as reached.

    Parameters
    ----------
    host : ChromaHost
    names : sequence of n str
    vectors : ndarray of shape (n, d), float32
    """
    left = np.arange(len(names))
    for depth in (FIRST, SECOND):
        left = np.array([place for place in left if not _zero(vectors[place])], dtype=np.int64)
        lost: list[int] = []
        for start in range(0, len(left), BLOCK):
            some = left[start : start + BLOCK]
            lost += _missed(host, [names[place] for place in some], vectors[some], some, depth)
        left = np.array(lost, dtype=np.int64)
    return left


def bring_back(
    host: ChromaHost, names: Sequence[str], vectors: NDArray[np.float32], lost: NDArray[np.int64]
) -> None:
    """Write the vectors of lost rows again, unchanged, which gives them new edges.

    That may push out others, so that it is repeated a few times.
    """
    for _ in range(ROUNDS):
        if not len(lost):
            return
        for start in range(0, len(lost), host.max_batch):
            some = lost[start : start + host.max_batch]
            reached(Moment.WRITING)
            host.collection.update(
                ids=[names[place] for place in some], embeddings=list(vectors[some])
            )
        lost = unreachable(host, names, vectors)


def _missed(
    host: ChromaHost,
    names: Sequence[str],
    vectors: NDArray[np.float32],
    places: NDArray[np.int64],
    depth: int,
) -> list[int]:
    try:
        got: Any = host.collection.query(
            query_embeddings=list(vectors), n_results=depth, include=["distances"]
        )
    except InternalError as error:
        logger.debug("Chroma could not answer a query of its own: %s", error)
        return []
    answers = zip(places.tolist(), names, got["ids"], got["distances"], strict=True)
    return [
        place
        for place, name, ids, distances in answers
        if name not in ids and not _copies(distances, depth)
    ]


def _copies(distances: Sequence[float], depth: int) -> bool:
    """Whether every result is as near as the row itself would be."""
    return len(distances) == depth and distances[-1] - distances[0] <= 1e-6


def _zero(vector: NDArray[np.float32]) -> bool:
    return not vector.any()
