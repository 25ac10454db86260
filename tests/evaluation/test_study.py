"""The study's parts on a small made-up collection, and its numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.evaluation import CollectionVectors, JudgedCollection, measure, study


def _made(name, seed):
    rows, topic = clustered(150, 24, topics=10, seed=seed)
    asked = np.arange(0, 150, 15)
    queries = rows[asked] + 0.3 * clustered(10, 24, seed=seed + 9)[0]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    collection = JudgedCollection(
        name=name,
        corpus={f"d{i}": "text" for i in range(150)},
        queries={f"q{i}": "text" for i in asked},
        qrels={f"q{i}": {f"d{j}": 1 for j in np.flatnonzero(topic == topic[i])} for i in asked},
    )
    return collection, CollectionVectors(rows, queries)


def test_area_is_the_share_of_ordered_pairs():
    values, positive = np.array([1.0, 2.0, 2.0, 5.0]), np.array([False, True, False, True])
    assert study.area(values, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert study.area(-values, positive) == pytest.approx(1 - 3.5 / 4)


def test_skewness():
    assert study.skewness(np.array([3, 3, 3])) == 0
    assert study.skewness(np.array([0, 0, 0, 9])) == pytest.approx(2 / 3**0.5)


def test_ndcg_is_that_of_the_measures():
    collection, vectors = _made("one", 0)
    ranked = np.argsort(-(vectors.queries @ vectors.corpus.T), axis=1)[:, :100]
    assert study._ndcg(collection, ranked) == pytest.approx(
        measure(collection, ranked).mean["ndcg@10"]
    )


def test_every_part():
    first, second = _made("one", 0), _made("two", 4)
    moved = study.drift([first[0], second[0]], [first[1], second[1]])
    assert set(moved) == {"field", "one", "two"}
    assert moved["field"]["distortion"] > 1
    for name in ("one", "two"):
        assert 0 < moved[name]["added"] <= 1
    tail = study.tail(*first)
    assert 0 <= tail["queries"] <= 10
    crowded = study.hubs(*first)
    assert crowded["cosine with copies"] <= crowded["cosine ndcg@10"]
    tight = CollectionVectors(clustered(300, 24, topics=30, spread=0.2)[0], first[1].queries)
    told = study.outliers(tight, seed=7)  # 0 would draw the topics
    assert set(told) == {"lambda", "dispersion", "nearest row"}
    assert told["nearest row"] > 0.9
