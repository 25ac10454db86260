"""The measures against sums written out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from energy_plugin.evaluation import JudgedCollection, measure

pytest.importorskip("ir_measures")


@pytest.fixture
def collection() -> JudgedCollection:
    return JudgedCollection(
        name="tiny",
        corpus={name: f"text {name}" for name in "abcde"},
        queries={"q1": "one", "q2": "two"},
        qrels={"q1": {"a": 3, "c": 1, "e": 0}, "q2": {"b": 1, "d": 2}},
    )


def test_values_by_hand(collection):
    # q1 ranks b a e c d: relevant at ranks 2 (grade 3) and 4 (grade 1)
    # q2 ranks a c only: nothing relevant
    ranking = np.array([[1, 0, 4, 2, 3], [0, 2, 4, 4, 4]])[:, :4]
    scores = measure(collection, ranking)
    ideal = 3 / log2(2) + 1 / log2(3)
    assert scores.per_query["ndcg@10"] == pytest.approx([(3 / log2(3) + 1 / log2(5)) / ideal, 0])
    assert scores.per_query["map"] == pytest.approx([(1 / 2 + 2 / 4) / 2, 0])
    assert scores.per_query["recall@100"] == pytest.approx([1, 0])
    assert scores.mean["map"] == pytest.approx(0.25)


def test_gain_is_linear(collection):
    # Exponential gain would give (2**1 - 1 + (2**3 - 1) / log2(3)) / ideal = .705 for c, a.
    scores = measure(collection, np.array([[2, 0], [3, 1]]))
    ideal = 3 + 1 / log2(3)
    assert scores.per_query["ndcg@10"] == pytest.approx([(1 + 3 / log2(3)) / ideal, 1.0])


def test_rank_decides_not_the_identifier(collection):
    # The relevant document is last in the alphabet and first in the ranking, and the reverse.
    best = measure(collection, np.array([[0, 1, 2], [3, 1, 0]])).per_query["ndcg@10"][1]
    assert best == pytest.approx(1.0)
    worse = measure(collection, np.array([[0, 1, 2], [1, 3, 0]])).per_query["ndcg@10"][1]
    assert worse == pytest.approx((1 + 2 / log2(3)) / (2 + 1 / log2(3)))


def test_recall_stops_at_one_hundred():
    corpus = {str(i): "x" for i in range(150)}
    judged = JudgedCollection("deep", corpus, {"q": "q"}, {"q": {"99": 1, "100": 1}})
    scores = measure(judged, np.arange(150)[None])
    assert scores.mean["recall@100"] == pytest.approx(0.5)
    assert scores.mean["map"] == pytest.approx((1 / 100 + 2 / 101) / 2)
