"""Reranking of given candidates: on a field, on stored columns, and on nothing but themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_plugin.energy import EnergyConfig, EnergyIndex, EnergyReranker
from energy_plugin.errors import ForeignFieldError, InvalidInputError


def _candidates(rows, query, count=60):
    return np.argsort(-(rows @ query))[:count]


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _by_hand(query, rows, heat=0.3, query_heat=0.2, k=8, kq=3, beta=0.3):
    """The notation table of `rerank` in numpy, from unit vectors; w_λ = w_G = 0."""

    def pull(near):
        weights = np.maximum(near, 0) ** 3
        return weights / max(weights.sum(), 1e-12)

    query, rows = query.astype(float), rows.astype(float)
    count = len(rows)
    farther = np.argsort(rows @ query, kind="stable")[: count // 2]
    background = beta * min(1, count / 100) * rows[farther].mean(0)
    query, rows = _unit(query - background), _unit(rows - background)
    k, kq = min(k, max(1, count // 8)), min(kq, max(1, count // 8))
    heated = np.empty_like(rows)
    for i, row in enumerate(rows):
        cosines = rows @ row
        cosines[i] = -2
        near = np.argsort(-cosines)[:k]
        weights = pull(cosines[near])
        heated[i] = _unit(row - heat * (weights.sum() * row - weights @ rows[near]))
    near = np.argsort(-(rows @ query))[:kq]
    weights = pull(rows[near] @ query)
    query = _unit(query - query_heat * (weights.sum() * query - weights @ heated[near]))
    gap = np.sqrt(np.maximum(0, 2 - 2 * heated @ query))
    return gap / (1 + gap)


@pytest.mark.parametrize("count", [3, 20, 100])
def test_alone_is_the_formula(rows, queries, count):
    config = EnergyConfig(weight_lambda=0.0)
    for query in queries[:5]:
        some = rows[_candidates(rows, query, count)]
        result = EnergyReranker(config=config).rerank(query, some)
        expected = _by_hand(_unit(query), _unit(some))
        np.testing.assert_allclose(result.distances, expected[result.order], atol=2e-5)
        assert (np.diff(result.distances) >= 0).all()
        assert sorted(result.order) == list(range(count))


def test_on_a_field_it_is_the_formula_in_its_coordinates(index, rows, queries):
    field = index.field
    heat = field.scalars.heat
    terms = EnergyConfig(weight_lambda=0.0)
    for query in queries[:5]:
        some = _candidates(rows, query, 90)
        points = field.projection("cpu").project(np.float32(rows[some]))[0].numpy()
        one = field.projection("cpu").project(np.float32(query[None]))[0].numpy()[0]
        result = EnergyReranker(field, terms).rerank(query, rows[some])
        expected = _by_hand(one, points, heat=0.2 * heat, query_heat=0.2 * heat, beta=0.12)
        np.testing.assert_allclose(result.distances, expected[result.order], atol=2e-5)
        # and the terms of the default are those of the field's own λ
        default = EnergyReranker(field).rerank(query, rows[some])
        lambda_, _ = field.taumode(np.concatenate([query[None], rows[some]]))
        gaps = np.abs(lambda_[0] - lambda_[1:]) / field.scalars.scale_lambda
        wanted = field.config.weight_lambda * np.minimum(gaps, 8)
        np.testing.assert_allclose(default.terms.lambda_, wanted[default.order], atol=1e-6)


def test_stored_columns_are_what_they_decode_to(index, queries):
    field = index.field
    some = np.sort(index.search(queries[0], k=80).ids[0])
    columns = index.columns_of(some)
    decoded = field.projection("cpu").decode(columns.cell, columns.residual).numpy()
    one = field.projection("cpu").project(np.float32(queries[:1]))[0].numpy()[0]
    config = EnergyConfig(weight_lambda=0.0)
    result = EnergyReranker(field, config).rerank(queries[0], None, columns=columns)
    heat = 0.2 * field.scalars.heat
    expected = _by_hand(one, _unit(decoded), heat=heat, query_heat=heat, beta=0.12)
    np.testing.assert_allclose(result.distances, expected[result.order], atol=2e-5)


def test_vectors_on_a_field_are_close_to_their_columns(index, rows, queries):
    """Columns are heated and coded, vectors are neither: of ten, eight and more are the same."""
    reranker = EnergyReranker(index.field)
    same = []
    for query in queries:
        some = _candidates(rows, query)
        coded = reranker.rerank(query, None, columns=index.columns_of(some), k=10)
        exact = reranker.rerank(query, rows[some], k=10)
        same.append(len(set(coded.order) & set(exact.order)))
    assert np.mean(same) >= 8


@pytest.mark.parametrize("with_field", [False, True])
def test_terms_sum_to_the_distance_and_k_is_a_prefix(index, rows, queries, with_field):
    config = EnergyConfig(weight_lambda=0.2, weight_dispersion=0.1)
    reranker = EnergyReranker(index.field if with_field else None, config)
    some = rows[_candidates(rows, queries[0])]
    whole = reranker.rerank(queries[0], some)
    terms = whole.terms
    np.testing.assert_allclose(
        terms.lambda_ + terms.dispersion + terms.dirichlet, whole.distances, atol=1e-6
    )
    assert terms.lambda_.max() > 0
    assert terms.dispersion.max() > 0
    head = reranker.rerank(queries[0], some, k=7)
    np.testing.assert_array_equal(head.order, whole.order[:7])
    np.testing.assert_array_equal(head.terms.lambda_, terms.lambda_[:7])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), dim=st.integers(1, 24))
def test_order_of_the_candidates_does_not_matter(seed, count, dim):
    rng = np.random.default_rng(seed)
    rows, query = rng.normal(size=(count, dim)), rng.normal(size=dim)
    shuffle = rng.permutation(count)
    reranker = EnergyReranker()
    one, two = reranker.rerank(query, rows), reranker.rerank(query, rows[shuffle] * 3.0)
    assert np.isfinite(one.distances).all()
    np.testing.assert_allclose(one.distances, two.distances, atol=1e-4)


def test_several_queries_are_one_by_one(index, rows, queries):
    reranker = EnergyReranker(index.field)
    lists = [rows[_candidates(rows, query, 10 + 5 * i)] for i, query in enumerate(queries[:4])]
    lists.append([])
    many = reranker.rerank_many(queries[:5], lists, k=9)
    assert [len(each.order) for each in many] == [9, 9, 9, 9, 0]
    for query, some, result in zip(queries, lists[:4], many, strict=False):
        np.testing.assert_array_equal(reranker.rerank(query, some, k=9).order, result.order)


@pytest.mark.parametrize("with_field", [False, True])
def test_odd_candidates(index, rows, with_field):
    reranker = EnergyReranker(index.field if with_field else None)
    query = rows[3]
    mixed = np.stack([np.zeros_like(query), rows[3], rows[3], -rows[3], rows[9]])
    result = reranker.rerank(query, mixed.astype(np.float64))
    assert list(result.order[:2]) == [1, 2]  # twins tie and keep the order they came in
    assert result.distances[0] == result.distances[1]
    assert result.order[-1] == 0  # without direction, last
    assert np.isfinite(result.distances).all()
    assert reranker.rerank(query, mixed[:1]).order.tolist() == [0]
    assert reranker.rerank(np.zeros_like(query), rows[:9]).order.shape == (9,)
    assert reranker.rerank(query, np.empty((0, len(query)))).order.shape == (0,)
    same = reranker.rerank(query, np.repeat(rows[5:6], 30, axis=0))
    np.testing.assert_array_equal(same.order, np.arange(30))


def test_what_cannot_be_ranked_is_refused(index, rows):
    alone, built = EnergyReranker(), EnergyReranker(index.field)
    columns = index.columns_of(np.arange(5))
    wrong_cells = index.columns_of(np.arange(5))
    object.__setattr__(wrong_cells, "cell", wrong_cells.cell + index.field.n_anchors)
    with pytest.raises(InvalidInputError, match="neither"):
        alone.rerank(rows[0], None)
    with pytest.raises(InvalidInputError, match=r"EnergyReranker\(index.field\)"):
        alone.rerank(rows[0], None, columns=columns)
    with pytest.raises(InvalidInputError, match="4 vectors and the columns of 5"):
        built.rerank(rows[0], rows[:4], columns=columns)
    with pytest.raises(ForeignFieldError, match="same generation"):
        built.rerank(rows[0], None, columns=wrong_cells)
    with pytest.raises(InvalidInputError, match="rerank_many"):
        alone.rerank(rows[:2], rows)
    with pytest.raises(InvalidInputError, match="dimensions"):
        alone.rerank(rows[0, :-1], rows)
    with pytest.raises(InvalidInputError, match="NaN"):
        alone.rerank(rows[0], np.full((3, rows.shape[1]), np.nan))
    with pytest.raises(InvalidInputError, match="q lists"):
        alone.rerank_many(rows[:2], [rows])
    with pytest.raises(InvalidInputError, match=r"Pass index\.field"):
        EnergyReranker(index)


def test_rows_of_another_fit_rank_too(rows, queries):
    """A field ranks vectors that it has never seen."""
    index = EnergyIndex.fit(rows[:300], device="cpu")
    result = EnergyReranker(index.field, device="cpu").rerank(rows[450], rows[400:500])
    assert result.order[0] == 50
