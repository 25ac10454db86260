"""What others do without labels, each at its best: rankings of one collection's vectors and words.

====================== =====================================================================
``centred cosine``     cosine of rows and queries without the mean row
``rocchio (tuned)``    vector relevance feedback: the query moves to the mean of its first rows;
                       number and share by the set's own judgements, which no user has
``csls``               2·cos − mean cosine of the row's ten nearest rows (Conneau et al., 2018)
``bm25``               `LexicalIndex` over the documents
``rrf``                reciprocal rank fusion of cosine and BM25, k = 60 (Cormack et al., 2009)
``convex``             half of each, scaled to 0..1 over a query's hundred best
``hybrid``             energy and words in one field, with the share that was learned
====================== =====================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import measure
from energy_plugin.evaluation.ranking import Rows, fit_index
from energy_plugin.evaluation.vectors import CollectionVectors, normalise

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from energy_plugin.energy import EnergyConfig
    from energy_plugin.lexical import LexicalIndex

Scores = npt.NDArray[np.float32]

FUSION = 60  # of reciprocal rank fusion
CSLS_ROWS = 10
ROCCHIO = tuple((count, share) for count in (1, 3, 5, 10) for share in (0.2, 0.4, 0.6))
CONVEX_ROWS = 100
BLOCK = 1024  # rows at a time where each is compared with all


def best(scores: Scores, k: int, least: float = -np.inf) -> Rows:
    """The k best rows of each line, ties by row; what is not above `least` comes last."""
    ordered = np.where(scores > least, scores, -np.inf)
    return np.argsort(-ordered, axis=1, kind="stable")[:, :k]


def centred(vectors: CollectionVectors) -> Scores:
    """Cosines without the mean row."""
    mean = vectors.corpus.mean(0)
    return normalise(vectors.queries - mean) @ normalise(vectors.corpus - mean).T


def csls(vectors: CollectionVectors) -> Scores:
    """Cosines, less what rows have in common with their neighbours."""
    corpus = vectors.corpus
    near = np.empty(len(corpus), dtype=np.float32)
    count = max(1, min(CSLS_ROWS, len(corpus) - 1))
    for start in range(0, len(corpus), BLOCK):
        block = corpus[start : start + BLOCK] @ corpus.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -1
        near[start : start + BLOCK] = -np.partition(-block, count - 1, axis=1)[:, :count].mean(1)
    return np.asarray(2 * vectors.queries @ corpus.T - near, dtype=np.float32)


def rocchio(vectors: CollectionVectors, count: int, share: float) -> Scores:
    """Cosines of queries that moved to the mean of their first rows."""
    queries, corpus = vectors.queries, vectors.corpus
    first = best(queries @ corpus.T, count)
    moved = (1 - share) * queries + share * corpus[first].mean(1)
    return np.asarray(normalise(moved) @ corpus.T, dtype=np.float32)


def tuned_rocchio(collection: JudgedCollection, vectors: CollectionVectors) -> Scores:
    """Of all settings the one with the best nDCG@10 on this very collection."""

    def quality(setting: tuple[int, float]) -> float:
        ranked = best(rocchio(vectors, *setting), 100)
        return measure(collection, ranked).mean["ndcg@10"]

    return rocchio(vectors, *max(ROCCHIO, key=quality))


def fused(cosines: Scores, words: Scores, depth: int = 1000) -> Scores:
    """Reciprocal rank fusion of the first `depth` of both; words count where any matches."""
    out = np.zeros(cosines.shape, dtype=np.float32)
    for scores, least in ((cosines, -np.inf), (words, 0.0)):
        ranked = best(scores, depth, least)
        share = 1 / (FUSION + 1 + np.arange(ranked.shape[1], dtype=np.float32))
        known = np.take_along_axis(scores, ranked, 1) > least
        np.put_along_axis(
            out, ranked, np.take_along_axis(out, ranked, 1) + np.where(known, share, 0), 1
        )
    return out


def convex(cosines: Scores, words: Scores) -> Scores:
    """Half of each, each scaled by its own best."""
    return 0.5 * _scaled(cosines) + 0.5 * _scaled(words)


def _scaled(scores: Scores) -> Scores:
    count = min(CONVEX_ROWS, scores.shape[1])
    some = -np.partition(-scores, count - 1, axis=1)[:, :count]
    low, high = some.min(1, keepdims=True), some.max(1, keepdims=True)
    return np.where(high > low, (scores - low) / np.maximum(high - low, 1e-9), 0).astype(np.float32)


class Words:
    """The words of a collection, indexed and asked once for all rankings."""

    def __init__(self, collection: JudgedCollection) -> None:
        self._collection = collection
        self.seconds = 0.0

    @cached_property
    def index(self) -> LexicalIndex:
        """BM25 of the documents."""
        from energy_plugin.lexical import LexicalIndex

        start = time.perf_counter()
        index = LexicalIndex.fit(list(self._collection.corpus.values()))
        self.seconds = time.perf_counter() - start
        return index

    @cached_property
    def queries(self) -> list[str]:
        """Texts of the judged queries."""
        return list(self._collection.queries.values())

    @cached_property
    def scores(self) -> csr_array:
        """Of every query, a thousand rows each."""
        return self.index.scores(self.queries)

    @cached_property
    def dense(self) -> Scores:
        """The same, (q, n)."""
        return np.asarray(self.scores.toarray(), dtype=np.float32)


def hybrid(
    vectors: CollectionVectors, words: Words, config: EnergyConfig | None, k: int
) -> tuple[Rows, float, Callable[[int], Any]]:
    """Energy and words in one field: rows, seconds of the fit, and a function for one query."""
    start = time.perf_counter()
    index = fit_index(vectors.corpus, config)
    share = index.lexical_share(words.index)
    seconds = time.perf_counter() - start
    found = index.search(vectors.queries, k=k, lexical=words.scores, lexical_weight=share)

    def one(i: int) -> Any:
        scores = words.index.scores(words.queries[i])
        return index.search(vectors.queries[i], k=10, lexical=scores, lexical_weight=share)

    return np.asarray(found.ids, dtype=np.int64), seconds, one
