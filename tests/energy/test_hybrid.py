"""Words and vectors in one ranking: candidates of both, terms that add up, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex, EnergyReranker
from energy_plugin.errors import InvalidInputError

N, D, Q = 900, 32, 6


@pytest.fixture(scope="module")
def case():
    """Index, queries, and scores in which about a tenth of the rows match."""
    index = EnergyIndex.fit(clustered(N, D)[0], device="cpu")
    queries = clustered(Q, D, seed=3)[0]
    rng = np.random.default_rng(0)
    scores = rng.gamma(2, 1, (Q, N)).astype(np.float32) * (rng.random((Q, N)) < 0.1)
    return index, queries, scores


def test_terms_add_up_and_distances_ascend(case):
    index, queries, scores = case
    found = index.search(queries, N, lexical=csr_array(scores))
    terms = found.terms
    total = terms.lambda_ + terms.dispersion + terms.dirichlet + terms.lexical
    np.testing.assert_allclose(total, found.distances, atol=2e-6)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert (np.sort(found.ids, 1) == np.arange(N)).all()
    assert not index.search(queries, 5).terms.lexical.any()


def test_ten_are_the_first_ten_and_a_query_stands_alone(case):
    index, queries, scores = case
    whole = index.search(queries, 800, lexical=scores)
    for k in (1, 10, 250, 400):
        assert np.array_equal(index.search(queries, k, lexical=scores).ids, whole.ids[:, :k])
    one = index.search(queries[4], 30, lexical=scores[4])
    assert np.array_equal(one.ids[0], whole.ids[4, :30])
    np.testing.assert_allclose(one.distances[0], whole.distances[4, :30], atol=1e-6)


def test_a_row_that_only_words_find_can_win(case):
    index, queries, _ = case
    farthest = index.search(queries, N).ids[:, -1]
    scores = np.zeros((Q, N))
    scores[np.arange(Q), farthest] = 5
    found = index.search(queries, 10, lexical=scores, lexical_weight=0.6)
    assert (found.ids == farthest[:, None]).any(1).all()
    place = np.argmax(found.ids == farthest[:, None], axis=1)
    assert (found.terms.lexical[np.arange(Q), place] < 0).all()
    # and with a small share a row that no word matches wins
    few = index.search(queries, 1, lexical=scores, lexical_weight=0.1)
    assert (few.ids[:, 0] != farthest).all()


def test_weights_at_both_ends(case):
    index, queries, scores = case
    words = index.search(queries, 1, lexical=scores, lexical_weight=1.0)
    assert np.array_equal(words.ids[:, 0], scores.argmax(1))
    vectors = index.search(queries, 10, lexical=scores, lexical_weight=0.0)
    plain = index.search(queries, 10)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(vectors.ids, plain.ids, strict=True)]
    assert np.mean(shared) >= 6  # of ten: the query is pulled more


def test_without_a_match_energy_ranks_alone(case):
    index, queries, scores = case
    some = scores.copy()
    some[[1, 3]] = 0
    found, plain = index.search(queries, 20, lexical=some), index.search(queries, 20)
    full = index.search(queries, 20, lexical=scores)
    for i in range(Q):
        wanted = plain if i in (1, 3) else full
        assert np.array_equal(found.ids[i], wanted.ids[i])
    assert np.array_equal(index.search(queries, 20, lexical=csr_array((Q, N))).ids, plain.ids)


def test_words_respect_the_filter_and_removed_rows():
    index = EnergyIndex.fit(clustered(N, D)[0], device="cpu")
    index.remove([5, 6])
    scores = np.zeros((1, N))
    scores[0, [5, 7, 800]] = 9, 8, 7
    query = clustered(1, D, seed=3)[0]
    found = index.search(query, N, lexical=scores)
    assert 5 not in found.ids
    some = np.arange(700, 850)
    inside = index.search(query, 10, rows=some, lexical=scores, lexical_weight=0.8)
    assert np.isin(inside.ids, some).all()
    assert 800 in inside.ids
    assert index.next_row == N


@pytest.mark.parametrize("mode", ["sketched", "probed", "n_probe"])
def test_every_way_of_searching_takes_words(case, mode):
    _, queries, scores = case
    rows = clustered(N, D)[0]
    changes = {"weight_lambda": 0.01} if mode == "probed" else {}
    config = EnergyConfig(exhaustive_rows=0, **changes)
    index = EnergyIndex.fit(rows, config, device="cpu")
    probe = 3 if mode == "n_probe" else None
    scores = scores[:, :N].copy()
    scores[:, 77] = 50
    found = index.search(queries, 10, lexical=scores, n_probe=probe, lexical_weight=0.6)
    assert (found.ids == 77).any(1).all()
    exact = index.search(queries, 10, lexical=scores, n_probe="all", lexical_weight=0.6)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found.ids, exact.ids, strict=True)]
    assert np.mean(shared) >= {"sketched": 9, "probed": 6, "n_probe": 4}[mode]


def test_zero_query_is_ranked_by_words(case):
    index, _, scores = case
    found = index.search(np.zeros(D), 5, lexical=scores[0], lexical_weight=0.5)
    assert found.ids[0, 0] in np.argsort(-scores[0])[:3]


def test_rows_without_direction_and_few_rows():
    rows = clustered(12, D)[0]
    rows[4] = 0
    index = EnergyIndex.fit(rows, device="cpu")
    scores = np.zeros((1, 12))
    scores[0, 4] = 3
    found = index.search(rows[0], 12, lexical=scores, lexical_weight=0.9)
    assert found.ids[0, 0] == 4  # has no direction, but the words
    assert np.isfinite(found.distances).all()


@pytest.mark.parametrize(
    ("lexical", "says"),
    [
        (np.zeros((Q, N - 1)), "has shape"),
        (np.zeros((Q + 1, N)), "has shape"),
        (np.full((Q, N), -1.0), "negative"),
        (np.full((Q, N), np.nan), "NaN"),
        (np.full((Q, N), np.inf), "infinite"),
        (np.full((Q, N), "x"), "lexical"),
        ("words", "lexical"),
        (np.full((Q, N), 1j), "real numbers"),
    ],
)
def test_scores_that_do_not_fit_are_refused(case, lexical, says):
    index, queries, _ = case
    with pytest.raises(InvalidInputError, match=says):
        index.search(queries, 10, lexical=lexical)


@pytest.mark.parametrize("weight", [-0.1, 1.1, "half", True, np.nan])
def test_other_weights_are_refused(case, weight):
    index, queries, scores = case
    with pytest.raises(InvalidInputError, match="lexical_weight"):
        index.search(queries, 10, lexical=scores, lexical_weight=weight)


class Rows:
    """Scores of rows by rows, from a dense matrix."""

    def __init__(self, scores):
        self.scores = scores

    def scores_of(self, rows, k=1000):
        return csr_array(self.scores[rows])


def test_the_share_follows_the_agreement_of_words_and_vectors(case):
    index, _, _ = case
    rows = clustered(N, D)[0]
    near = np.clip(rows @ rows.T, 0, None)
    rng = np.random.default_rng(1)
    agreeing = index.lexical_share(Rows(near))
    apart = index.lexical_share(Rows(rng.random((N, N)) * (rng.random((N, N)) < 0.05)))
    config = index.field.config
    assert config.lexical_floor <= agreeing < apart <= config.lexical_floor + config.lexical_slope
    assert agreeing == index.lexical_share(Rows(near))
    with pytest.raises(InvalidInputError, match="has shape"):
        index.lexical_share(Rows(near[:, :-1]))


@pytest.mark.parametrize("kind", ["field", "alone"])
def test_reranking_with_words(case, kind):
    index, queries, _ = case
    rows = clustered(N, D)[0][:80]
    field = index.field if kind == "field" else None
    reranker = EnergyReranker(field, device="cpu")
    plain = reranker.rerank(queries[0], rows)
    lexical = np.zeros(80)
    last = int(plain.order[-1])
    lexical[last] = 3
    found = reranker.rerank(queries[0], rows, lexical=lexical, lexical_weight=0.6)
    assert last in found.order[:5]
    terms = found.terms
    total = terms.lambda_ + terms.dispersion + terms.dirichlet + terms.lexical
    np.testing.assert_allclose(total, found.distances, atol=1e-6)
    assert (np.diff(found.distances) >= 0).all()
    none = reranker.rerank(queries[0], rows, lexical=np.zeros(80))
    assert np.array_equal(none.order, plain.order)
    many = reranker.rerank_many(queries[:2], [rows, rows], lexical=[lexical, lexical])
    assert np.array_equal(many[0].order, reranker.rerank(queries[0], rows, lexical=lexical).order)
    for bad in (lexical[:-1], -lexical, lexical[None], np.full(80, np.nan)):
        with pytest.raises(InvalidInputError, match="lexical"):
            reranker.rerank(queries[0], rows, lexical=bad)
    with pytest.raises(InvalidInputError, match="lists of lexical"):
        reranker.rerank_many(queries[:2], [rows, rows], lexical=[lexical])
