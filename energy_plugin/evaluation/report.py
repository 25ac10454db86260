"""Cosine, energy and what else is asked for on one judged collection, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.compare import Comparison, compare
from energy_plugin.evaluation.measures import MEASURES, Scores, measure
from energy_plugin.evaluation.rankers import Ranker, rankers
from energy_plugin.evaluation.vectors import CollectionVectors

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

BASELINE = "cosine"
WORDS = ("bm25", "rrf", "hybrid")
WORST = 10
ONE_ANSWER = 1.5  # relevant documents a query, up to which questions have one answer


@dataclass(frozen=True)
class RankingReport:
    """One ranking of a collection.

    Attributes
    ----------
    mean : mapping of str to float
        Mean over the queries, by measure.
    comparison : mapping of str to Comparison
        Against cosine, by measure; empty for cosine itself.
    fit_seconds : float
        Wall time of the fit (s).
    query_ms : float
        Median wall time of one query for its first ten results (ms).
    worst : sequence of mapping
        The `WORST` queries that lose most nDCG@10 to cosine: id, text and both values.
    """

    mean: Mapping[str, float]
    comparison: Mapping[str, Comparison]
    fit_seconds: float
    query_ms: float
    worst: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class SetReport:
    """What was measured on one collection.

    Attributes
    ----------
    name : str
        Name of the collection.
    documents, empty_documents, queries : int
        Sizes.
    answers : float
        Relevant documents a query, the mean.
    rankings : mapping of str to RankingReport
        By name, see `energy_plugin.evaluation.rankers`; cosine and energy are the first two.
    """

    name: str
    documents: int
    empty_documents: int
    queries: int
    answers: float
    rankings: Mapping[str, RankingReport]

    @property
    def cosine(self) -> Mapping[str, float]:
        """Means of cosine, by measure."""
        return self.rankings[BASELINE].mean

    @property
    def energy(self) -> Mapping[str, float]:
        """Means of energy, by measure."""
        return self.rankings["energy"].mean

    @property
    def one_answer(self) -> bool:
        """Whether its questions have one answer, where a ranking has no second chance."""
        return self.answers <= ONE_ANSWER

    @property
    def comparison(self) -> Mapping[str, Comparison]:
        """Energy against cosine, by measure."""
        return self.rankings["energy"].comparison

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON primitives, ``cosine`` and ``energy`` first."""
        comparison = {name: asdict(result) for name, result in self.comparison.items()}
        return {
            "cosine": dict(self.cosine),
            "energy": dict(self.energy),
            **{name: dict(self.rankings[name].mean) for name in WORDS if name in self.rankings},
            "comparison": comparison,
            **asdict(self),
        }


def evaluate(
    collection: JudgedCollection,
    vectors: CollectionVectors,
    *,
    k: int = 1000,
    config: EnergyConfig | None = None,
    ablate: bool = False,
    rerank_first: int | None = None,
    peers: bool = False,
    words: bool = False,
    show_progress_bar: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> SetReport:
    """Rank every judged query by cosine, energy and the `arrowspace` preset, and score them.

    Parameters
    ----------
    k : int
        Depth of the rankings; average precision sees no deeper.
    config : EnergyConfig, optional
        Configuration of the energy field.
    ablate : bool
        Also a ranking for each term of the recipe, without that term.
    rerank_first : int, optional
        Also cosine's top N, reranked with a field and on the candidates alone.
    peers : bool
        Also what others do without labels, see `energy_plugin.evaluation.peers`.
    words : bool
        With them, also the rankings that read words, and ``hybrid``.
    progress : callable
        Called with the name of each ranking before it is made.

    Raises
    ------
    InvalidInputError
        `rerank_first` is below 1.
    """
    if rerank_first is not None and rerank_first < 1:
        raise InvalidInputError(f"rerank_first must be at least 1, got {rerank_first}.")
    wanted = rankers(
        config,
        ablate=ablate,
        rerank_first=rerank_first,
        collection=collection if peers or words else None,
        words=words,
        show_progress_bar=show_progress_bar,
    )
    baseline: Scores | None = None
    found = {}
    for name, ranker in wanted.items():
        progress(name)
        scores, found[name] = _scored(collection, vectors, ranker, k, baseline)
        baseline = baseline or scores
    return SetReport(
        name=collection.name,
        documents=len(collection.corpus),
        empty_documents=collection.n_empty,
        queries=len(collection.queries),
        answers=_answers(collection),
        rankings=found,
    )


def _scored(
    collection: JudgedCollection,
    vectors: CollectionVectors,
    ranker: Ranker,
    k: int,
    baseline: Scores | None,
) -> tuple[Scores, RankingReport]:
    ranked = ranker(vectors, k)
    scores = measure(collection, ranked.rows)
    comparison = {}
    if baseline is not None:
        comparison = {
            name: compare(baseline.per_query[name], scores.per_query[name]) for name in MEASURES
        }
    worst = [] if baseline is None else _worst(collection, baseline, scores)
    return scores, RankingReport(
        scores.mean, comparison, ranked.fit_seconds, ranked.query_ms, worst
    )


def _answers(collection: JudgedCollection) -> float:
    counts = [sum(g > 0 for g in grades.values()) for grades in collection.qrels.values()]
    return sum(counts) / len(counts)


def _worst(collection: JudgedCollection, baseline: Scores, scores: Scores) -> list[dict[str, Any]]:
    first, second = baseline.per_query["ndcg@10"], scores.per_query["ndcg@10"]
    names = list(collection.queries)
    order = np.argsort(second - first, kind="stable")[:WORST]
    return [
        {
            "query": names[i],
            "text": collection.queries[names[i]],
            "cosine": float(first[i]),
            "value": float(second[i]),
        }
        for i in order
        if second[i] < first[i]
    ]
