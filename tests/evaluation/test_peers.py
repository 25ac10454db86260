"""Peers of the energy ranking do what their papers say, on cases small enough to see."""

from __future__ import annotations

import numpy as np
import pytest

from energy_plugin.evaluation import peers
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.compare import adjusted, compare
from energy_plugin.evaluation.vectors import CollectionVectors, normalise


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    rows = normalise(rng.standard_normal((60, 16)) + 2)
    return CollectionVectors(rows, normalise(rows[:5] + 0.1 * rng.standard_normal((5, 16))))


def test_fusion_is_that_of_the_formula():
    cosines = np.array([[0.9, 0.5, 0.1, 0.3]], dtype=np.float32)
    words = np.array([[0.0, 2.0, 0.0, 5.0]], dtype=np.float32)
    wanted = [1 / 61, 1 / 62 + 1 / 62, 1 / 64, 1 / 63 + 1 / 61]
    np.testing.assert_allclose(peers.fused(cosines, words)[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(peers.convex(cosines, words)[0], [0.5, 0.45, 0, 0.625], rtol=1e-5)


def test_ties_and_rows_without_words():
    scores = np.array([[0.0, 1.0, 1.0, 0.0]])
    assert peers.best(scores, 4, 0.0).tolist() == [[1, 2, 0, 3]]


def test_csls_takes_hubs_down(vectors):
    rows, queries = vectors.corpus, vectors.queries
    near = rows @ rows.T
    np.fill_diagonal(near, -1)
    mean = np.sort(near, 1)[:, -10:].mean(1)
    np.testing.assert_allclose(peers.csls(vectors), 2 * queries @ rows.T - mean, atol=1e-5)
    assert (peers.centred(vectors).mean(1) < 0.3).all()


def test_rocchio_moves_to_the_first_rows(vectors):
    cosines = vectors.queries @ vectors.corpus.T
    moved = peers.rocchio(vectors, 1, 0.5)
    first = cosines.argmax(1)
    assert (np.take_along_axis(moved, first[:, None], 1)[:, 0] > cosines.max(1)).all()


def test_false_discoveries_are_corrected():
    np.testing.assert_allclose(adjusted([0.01, 0.04, 0.03]), [0.03, 0.04, 0.04])
    assert adjusted([]) == []
    same = compare(np.ones(6), np.ones(6))
    assert same.wilcoxon == 1.0
    better = compare(np.zeros(8), np.arange(1, 9) / 10)
    assert better.wilcoxon == pytest.approx(2 / 256)  # all eight signs alike


def test_words_and_hybrid_of_a_collection(vectors):
    pytest.importorskip("Stemmer")
    names = [f"d{i}" for i in range(60)]
    corpus = {name: f"common topic{i % 7} word{i}" for i, name in enumerate(names)}
    queries = {f"q{i}": f"word{i}" for i in range(5)}
    collection = JudgedCollection(
        "made", corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(5)}
    )
    words = peers.Words(collection)
    assert words.dense.argmax(1).tolist() == list(range(5))
    rows, seconds, one = peers.hybrid(vectors, words, None, 20)
    assert rows[:, 0].tolist() == list(range(5))
    assert seconds > 0
    assert one(3).ids[0, 0] == 3
