"""The rankings of this project and of other methods that need no labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from energy_plugin import EnergyConfig, EnergyIndex
from energy_plugin.evaluation import peers
from energy_plugin.evaluation.tune import ndcg, own_questions
from energy_plugin.evaluation.vectors import CollectionVectors
from energy_plugin.lexical import LexicalIndex

ETAS, STEPS = (0.22, 0.535, 1.0), (2, 4, 6, 8, 10)  # of the published grid
DEPTH = 100
Cell = tuple[float, int]  # η and number of steps


def without_labels(
    texts: list[str], rows: np.ndarray, queries: np.ndarray, words: list[str]
) -> dict[str, np.ndarray]:
    """Rankings by name; `words` are the texts of the queries."""
    vectors = CollectionVectors(rows, queries)
    lexical = LexicalIndex.fit(texts)
    matches = lexical.scores(words)
    cosines, dense = queries @ rows.T, np.asarray(matches.toarray(), dtype=np.float32)
    index = EnergyIndex.fit(rows)
    share = index.lexical_share(lexical)
    weighted = EnergyIndex.fit(rows, EnergyConfig.preset("arrowspace"))
    return {
        "cosine": peers.best(cosines, DEPTH),
        "centred cosine": peers.best(peers.centred(vectors), DEPTH),
        "Rocchio, 5 rows, .4": peers.best(peers.rocchio(vectors, 5, 0.4), DEPTH),
        "Maniscope": maniscope(rows, queries),
        "CSLS": peers.best(peers.csls(vectors), DEPTH),
        "BM25": peers.best(dense, DEPTH),
        "reciprocal rank fusion": peers.best(peers.fused(cosines, dense), DEPTH),
        "energy": index.search(queries, k=DEPTH).ids,
        "energy with arrowspace's weights": weighted.search(queries, k=DEPTH).ids,
        "hybrid energy": index.search(queries, k=DEPTH, lexical=matches, lexical_weight=share).ids,
    }


def maniscope(rows: np.ndarray, queries: np.ndarray, k: int = 5, alpha: float = 0.3) -> np.ndarray:
    """Cosine's first in the order of α·cosine + (1−α)/(1+geodesic distance to the first of them).

    Gong, "Reranker Optimization via Geodesic Distances on k-NN Manifolds", 2026; its defaults.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    similar = rows @ rows.T
    np.fill_diagonal(similar, -1)
    near = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    own = np.repeat(np.arange(len(rows)), k)
    length = np.maximum(1 - similar[own, near.ravel()], 1e-6)
    graph = csr_array((length, (own, near.ravel())), shape=similar.shape)
    cosines = queries @ rows.T
    first = peers.best(cosines, DEPTH)
    far = dijkstra(graph, directed=False, indices=first[:, 0])
    out = np.empty_like(first)
    for q, places in enumerate(first):
        score = alpha * cosines[q, places] + (1 - alpha) / (1 + far[q, places])
        out[q] = places[np.argsort(-score, kind="stable")]
    return out


def grid(rows: np.ndarray, counts: Sequence[int]) -> dict[Cell, EnergyIndex]:
    """A field per cell: η and steps of the heat flow over the anchors; our η stays below 1."""
    return {
        (eta, steps): EnergyIndex.fit(
            rows, EnergyConfig(anchor_heat=min(eta, 0.99), anchor_heat_steps=steps)
        )
        for eta in ETAS
        for steps in counts
    }


def by_own_queries(fields: Mapping[Cell, EnergyIndex], rows: np.ndarray, seed: int) -> Cell:
    """Our criterion without labels: the cell that best answers the collection's own queries."""
    asked, wanted = own_questions(rows, np.random.default_rng(seed))
    return max(fields, key=lambda cell: ndcg(fields[cell].search(asked, k=10).ids, wanted).mean())
