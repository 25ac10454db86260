"""The rankings that an evaluation compares, by name.

====================== =====================================================================
``cosine``             exact, over all vectors; what the others are compared with
``energy``             `EnergyIndex` with the given configuration
``arrowspace``         the same index with the weights of that reference (λ 1, G .5, D .25)
``centred cosine`` …   what others do, see `peers`; those with words, and ``hybrid``, on request
``rerank, field``      cosine's first N in the order of `EnergyReranker` with the field
``rerank, candidates`` the same on the candidates alone
``without …``          the index with one term switched off, see `ABLATIONS`
====================== =====================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin.evaluation import peers
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.ranking import Rows, fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import CollectionVectors

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyIndex

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "centring": {"centring": 0.0},
    "Dirichlet metric": {"metric_exponent": 0.0},
    "row heat": {"heat": 0.0},
    "local heat of rows": {"local_heat": 0.0},
    "local heat of query": {"query_heat": 0.0},
    "term of λ": {"weight_lambda": 0.0},
    "term of G": {"weight_dispersion": 0.0},
}
TIMED_QUERIES = 50
TIMED_DEPTH = 10


@dataclass(frozen=True)
class Ranked:
    """What a ranker gave.

    Attributes
    ----------
    rows : ndarray of shape (q, k), int64
        Row numbers, best first.
    fit_seconds : float
        Wall time of what was learned for it, 0 without anything.
    query_ms : float
        Median wall time of one query for its first ten (ms), one query at a time.
    """

    rows: Rows
    fit_seconds: float
    query_ms: float


Ranker = Callable[[CollectionVectors, int], Ranked]


def median_ms(ask: Callable[[int], object], count: int) -> float:
    """Median wall time of `ask(i)` over the first queries, after one to warm up."""
    times = []
    ask(0)
    for i in range(min(count, TIMED_QUERIES)):
        start = time.perf_counter()
        ask(i)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def cosine(vectors: CollectionVectors, k: int) -> Ranked:
    """Exact cosine."""
    corpus, queries = vectors.corpus, vectors.queries
    one = median_ms(lambda i: rank_by_cosine(corpus, queries[i : i + 1], TIMED_DEPTH), len(queries))
    return Ranked(rank_by_cosine(corpus, queries, k), 0.0, one)


def energy(config: EnergyConfig | None = None, *, show_progress_bar: bool = False) -> Ranker:
    """The energy index with a configuration."""

    def rank(vectors: CollectionVectors, k: int) -> Ranked:
        index, seconds = _fitted(vectors, config, show_progress_bar)
        queries = vectors.queries
        one = median_ms(lambda i: index.search(queries[i], k=TIMED_DEPTH), len(queries))
        return Ranked(rank_by_energy(index, queries, k), seconds, one)

    return rank


def rerank(count: int, config: EnergyConfig | None = None, *, with_field: bool) -> Ranker:
    """Cosine's first `count`, reordered; beyond them cosine's order stays."""

    def rank(vectors: CollectionVectors, k: int) -> Ranked:
        from energy_plugin.energy import EnergyReranker

        seconds, field = 0.0, None
        if with_field:
            index, seconds = _fitted(vectors, config, False)
            field = index.field
        reranker = EnergyReranker(field, config)
        ranked = rank_by_cosine(vectors.corpus, vectors.queries, max(k, count))
        count_here = min(count, ranked.shape[1])

        def ordered(i: int) -> Rows:
            first = ranked[i, :count_here]
            return first[reranker.rerank(vectors.queries[i], vectors.corpus[first]).order]

        one = median_ms(ordered, len(ranked))
        head = np.stack([ordered(i) for i in range(len(ranked))])
        return Ranked(np.hstack([head, ranked[:, count_here:]])[:, :k], seconds, one)

    return rank


def scored(scores: Callable[[CollectionVectors], peers.Scores], least: float = -np.inf) -> Ranker:
    """Rank by a function that gives all scores at once; one query's time is its share of that."""

    def rank(vectors: CollectionVectors, k: int) -> Ranked:
        start = time.perf_counter()
        ranked = peers.best(scores(vectors), k, least)
        spent = time.perf_counter() - start
        return Ranked(ranked, 0.0, 1000 * spent / max(1, len(ranked)))

    return rank


def peer_rankers(
    collection: JudgedCollection, config: EnergyConfig | None, *, words: bool
) -> dict[str, Ranker]:
    """Peers of the energy ranking, with those that read words if wanted."""
    found = {
        "centred cosine": scored(peers.centred),
        "rocchio (tuned)": scored(lambda vectors: peers.tuned_rocchio(collection, vectors)),
        "csls": scored(peers.csls),
    }
    if not words:
        return found
    text = peers.Words(collection)

    def hybrid(vectors: CollectionVectors, k: int) -> Ranked:
        rows, seconds, one = peers.hybrid(vectors, text, config, k)
        return Ranked(rows, seconds, median_ms(one, len(rows)))

    return {
        **found,
        "bm25": scored(lambda _: text.dense, 0.0),
        "rrf": scored(lambda v: peers.fused(v.queries @ v.corpus.T, text.dense), 0.0),
        "convex": scored(lambda v: peers.convex(v.queries @ v.corpus.T, text.dense)),
        "hybrid": hybrid,
    }


def rankers(
    config: EnergyConfig | None = None,
    *,
    ablate: bool = False,
    rerank_first: int | None = None,
    collection: JudgedCollection | None = None,
    words: bool = False,
    show_progress_bar: bool = False,
) -> dict[str, Ranker]:
    """Every ranking wanted, cosine first.

    Parameters
    ----------
    config : EnergyConfig, optional
        The default recipe if not given.
    ablate : bool
        Also one ranking a term that is switched on in the configuration, without that term.
    rerank_first : int, optional
        Also cosine's top N, reranked with and without a field.
    collection : JudgedCollection, optional
        Also the peers, which need its judgements and texts.
    words : bool
        With it, also the rankings that read words.
    """
    from energy_plugin.energy import EnergyConfig

    settings = config or EnergyConfig()
    reference = EnergyConfig.preset("arrowspace")
    weights = ("weight_lambda", "weight_dispersion", "weight_dirichlet")
    found: dict[str, Ranker] = {
        "cosine": cosine,
        "energy": energy(settings, show_progress_bar=show_progress_bar),
        "arrowspace": energy(
            replace(settings, **{name: getattr(reference, name) for name in weights})
        ),
    }
    if collection is not None:
        found.update(peer_rankers(collection, config, words=words))
    if rerank_first is not None:
        found["rerank, field"] = rerank(rerank_first, config, with_field=True)
        found["rerank, candidates"] = rerank(rerank_first, config, with_field=False)
    if ablate:
        for name, off in ABLATIONS.items():
            changed = replace(settings, **off)
            if changed != settings:
                found[f"without {name}"] = energy(changed)
    return found


def _fitted(
    vectors: CollectionVectors, config: EnergyConfig | None, show_progress_bar: bool
) -> tuple[EnergyIndex, float]:
    start = time.perf_counter()
    index = fit_index(vectors.corpus, config, show_progress_bar=show_progress_bar)
    return index, time.perf_counter() - start
