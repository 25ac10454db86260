"""Which ranking finds the right passage first, on somebody's own documents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

Key = TypeVar("Key", int, str)
RANKINGS = ("cosine", "words", "fusion", "energy", "hybrid")
PLAIN = ("cosine", "words", "fusion")  # what a host's user has without energy
DEPTH = 100  # a right row further down counts as not found
RRF_K = 60  # reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)
ALPHA = 0.05
FEWEST = 5  # questions below which nothing is said


@dataclass(frozen=True)
class Score:
    """One ranking over all questions.

    Attributes
    ----------
    mrr : float
        Mean of 1/place of the first right row, 0 where it is not among the first 100.
    first, first_ten : float
        Share of questions whose right row comes first, or among the first ten.
    median_place : float
        Of the first right row; infinite where fewer than half are found.
    """

    mrr: float
    first: float
    first_ten: float
    median_place: float


@dataclass(frozen=True)
class Duel:
    """A ranking against the best that needs no energy.

    Attributes
    ----------
    wins, ties, losses : int
        Questions whose right row stands higher, as high, lower.
    p_value : float
        Paired randomisation test of 1/place, two-sided.
    """

    wins: int
    ties: int
    losses: int
    p_value: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found.

    Attributes
    ----------
    rows : int
    questions : list of str
    places : dict of str to ndarray of shape (q,)
        Place of the first right row by ranking, counted from 1; infinite beyond the depth.
    scores : dict of str to Score
    rival : str
        The best ranking that needs no energy.
    duels : dict of str to Duel
        Of energy and hybrid against the rival.
    seconds : float
    """

    rows: int
    questions: list[str]
    places: dict[str, NDArray[np.float64]]
    scores: dict[str, Score]
    rival: str
    duels: dict[str, Duel]
    seconds: float

    @property
    def verdict(self) -> str:
        """One sentence."""
        count = len(self.questions)
        if count < FEWEST:
            return f"Too few questions to tell: {count}. Give at least {FEWEST}."
        best = max(self.duels, key=lambda name: self.scores[name].mrr)
        ours, theirs = self.scores[best].mrr, self.scores[self.rival].mrr
        duel = self.duels[best]
        change = f"MRR {ours:.3f} against {theirs:.3f}, {duel.wins} wins, {duel.losses} losses"
        if duel.p_value < ALPHA:
            if ours > theirs:
                return f"Use {best}: it beats {self.rival} on these questions ({change})."
            return f"Energy does not help here: {self.rival} is better ({change})."
        if ours > theirs:
            return (
                f"No clear difference on {count} questions: {best} is ahead of {self.rival}, but "
                f"this could be chance ({change}, p = {duel.p_value:.2f})."
            )
        return f"Energy does not help here: {self.rival} does as well ({change})."

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives; places that are not finite are null."""
        return {
            "rows": self.rows,
            "questions": [
                {
                    "question": text,
                    "places": {
                        name: int(places[i]) if np.isfinite(places[i]) else None
                        for name, places in self.places.items()
                    },
                }
                for i, text in enumerate(self.questions)
            ],
            "rankings": {
                name: {
                    **asdict(score),
                    "median_place": score.median_place if np.isfinite(score.median_place) else None,
                }
                for name, score in self.scores.items()
            },
            "rival": self.rival,
            "duels": {name: asdict(duel) for name, duel in self.duels.items()},
            "seconds": self.seconds,
            "verdict": self.verdict,
        }


def compare(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    questions: Sequence[str],
    question_vectors: NDArray[np.float32],
    answers: Sequence[frozenset[int]],
    *,
    seed: int = 0,
) -> Comparison:
    """Rank the rows for every question in five ways.

    Parameters
    ----------
    texts : sequence of n str
    vectors : ndarray of shape (n, d), float32
    questions : sequence of q str
    question_vectors : ndarray of shape (q, d), float32
    answers : sequence of q sets of int
        Rows that answer each question.
    seed : int
        Of the test's random signs.

    Raises
    ------
    InvalidInputError
        No question, or one without a row that answers it.
    OptionalDependencyError
        The extra ``lexical`` is not installed.
    """
    from energy_plugin.energy import EnergyIndex
    from energy_plugin.evaluation.compare import compare as paired
    from energy_plugin.evaluation.ranking import rank_by_cosine
    from energy_plugin.lexical import LexicalIndex

    if not questions:
        raise InvalidInputError("There are no questions to compare rankings with. Give some.")
    lost = [text for text, rows in zip(questions, answers, strict=True) if not rows]
    if lost:
        raise InvalidInputError(
            f"No row answers {lost[0]!r} ({len(lost)} of {len(questions)} questions). Name the id "
            "of a row, or a file as search shows it."
        )
    start = time.perf_counter()
    depth = min(DEPTH, len(texts))
    words = LexicalIndex.fit(texts).scores(list(questions), k=max(1000, depth))
    index = EnergyIndex.fit(vectors)
    by_cosine = rank_by_cosine(_unit(vectors), _unit(question_vectors), depth)
    by_words = [_best(words, q, depth) for q in range(len(questions))]
    orders: dict[str, Sequence[NDArray[np.int64]]] = {
        "cosine": list(by_cosine),
        "words": by_words,
        "fusion": [_fused([a, b], depth) for a, b in zip(by_cosine, by_words, strict=True)],
        "energy": list(index.search(question_vectors, depth).ids),
        "hybrid": list(index.search(question_vectors, depth, lexical=words).ids),
    }
    places = {
        name: np.array([_place(order, right) for order, right in zip(ranked, answers, strict=True)])
        for name, ranked in orders.items()
    }
    scores = {name: _score(found) for name, found in places.items()}
    rival = max(PLAIN, key=lambda name: scores[name].mrr)
    duels = {}
    for name in ("energy", "hybrid"):
        result = paired(1 / places[rival], 1 / places[name], seed=seed)
        duels[name] = Duel(result.win, result.tie, result.loss, result.p_value)
    seconds = time.perf_counter() - start
    return Comparison(len(texts), list(questions), places, scores, rival, duels, seconds)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), dtype=np.float32)


def _best(scores: Any, query: int, depth: int) -> NDArray[np.int64]:
    row = scores[[query]].tocoo()
    order = np.lexsort((row.col, -row.data))[:depth]
    return np.asarray(row.col[order], dtype=np.int64)


def fused(orders: Sequence[Sequence[Key]]) -> dict[Key, float]:
    """Scores of reciprocal rank fusion, the highest first; equal ones in order of their keys."""
    total: dict[Key, float] = {}
    for order in orders:
        for place, row in enumerate(order, 1):
            total[row] = total.get(row, 0.0) + 1 / (RRF_K + place)
    ranked = sorted(total, key=lambda row: (-total[row], row))
    return {row: total[row] for row in ranked}


def _fused(orders: Sequence[NDArray[np.int64]], depth: int) -> NDArray[np.int64]:
    return np.array(list(fused([order.tolist() for order in orders]))[:depth], dtype=np.int64)


def _place(order: NDArray[np.int64], right: frozenset[int]) -> float:
    found = np.flatnonzero(np.isin(order, list(right)))
    return float(found[0] + 1) if len(found) else np.inf


def _score(places: NDArray[np.float64]) -> Score:
    return Score(
        mrr=float((1 / places).mean()),
        first=float((places == 1).mean()),
        first_ten=float((places <= 10).mean()),
        median_place=float(np.median(places)),
    )
