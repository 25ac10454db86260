"""Rows near rows, in λ, as copies, and along paths of the row graph."""

import itertools

import numpy as np
import pytest

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.errors import InvalidInputError

N, DIM = 400, 24


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((8, DIM))
    rows = centres[np.arange(N) % 8] + 0.5 * rng.standard_normal((N, DIM))
    rows[11], rows[12] = rows[3], rows[3] * 7  # copies, whatever their length
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def index(vectors):
    return EnergyIndex.fit(vectors, EnergyConfig(bits=8), device="cpu")


def decoded(index):
    """The heated rows, as an independent reading of the stored columns."""
    return index.field.projection("cpu").decode(index.columns.cell, index.columns.residual).numpy()


def test_neighbours_are_those_of_the_heated_rows(index):
    rows = decoded(index)
    for row in (0, 3, 399):
        similarity = rows @ rows[row]
        similarity[row] = -np.inf
        found = index.neighbours(row, 7)
        assert len(found) == 7
        assert similarity[found.ids[0]] >= similarity.max() - 1e-4  # copies are equally near
        assert len(set(found.ids) & set(np.argsort(-similarity, kind="stable")[:7])) >= 6
        assert (np.diff(found.distances) >= 0).all()
    assert set(index.neighbours(3, 2).ids) == {11, 12}
    assert len(index.neighbours(0, 10_000)) == N - 1


def test_neighbours_cross_the_groups_of_the_data_rarely(index):
    same = [np.mean(index.neighbours(row, 10).ids % 8 == row % 8) for row in range(20, 60)]
    assert np.mean(same) > 0.9


def test_search_by_lambda(index):
    lambda_ = index.columns.lambda_.astype(np.float64)
    found = index.search_lambda(5, 6)
    gap = np.abs(lambda_ - lambda_[5])
    gap[5] = np.inf
    assert np.array_equal(found.ids, np.lexsort((np.arange(N), gap))[:6])
    assert np.allclose(found.distances, np.sort(gap)[:6], atol=1e-6)
    middle = float(np.median(lambda_))
    by_value = index.search_lambda(middle, 4)
    assert np.allclose(by_value.distances, np.sort(np.abs(lambda_ - middle))[:4], atol=1e-6)
    assert len(index.search_lambda(0.0, 10_000)) == N


def test_duplicates(index):
    assert [3, 11, 12] in [group.tolist() for group in index.duplicates()]
    assert [group.tolist() for group in index.duplicates(0.985)] == [[3, 11, 12]]
    looser = index.duplicates(0.9)
    assert len(looser[0]) >= 3
    assert all(len(group) > 1 for group in looser)
    joined = np.concatenate(looser)
    assert len(np.unique(joined)) == len(joined), "a row stands in one group"


def test_removed_rows_are_not_found(vectors):
    index = EnergyIndex.fit(vectors, EnergyConfig(bits=8), device="cpu")
    index.remove([11])
    assert index.neighbours(3, 1).ids.tolist() == [12]
    assert [group.tolist() for group in index.duplicates(0.985)] == [[3, 12]]
    assert 11 not in index.row_graph().rows
    assert 11 not in index.search_lambda(3, N).ids
    with pytest.raises(InvalidInputError, match="row is 11, which is not in the index"):
        index.neighbours(11)


def test_the_row_graph(index):
    graph = index.row_graph(6)
    assert graph.near.shape == (N, 6)
    rows = decoded(index)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    wanted = np.argsort(-similarity, axis=1, kind="stable")[:, :6]
    assert (
        np.mean([len(set(a) & set(b)) / 6 for a, b in zip(graph.near, wanted, strict=True)]) > 0.99
    )
    assert set(graph.around(0, 0)) == {0}
    first = set(graph.around(0, 1))
    assert set(graph.near[0]) < first
    assert first < set(graph.around(0, 2))


def test_paths(index):
    graph = index.row_graph(6)
    near = {tuple(sorted((i, int(j)))) for i in range(N) for j in graph.near[i]}
    path = graph.path(0, 7)
    if path:  # the groups of the data may lie apart
        assert (path[0], path[-1]) == (0, 7)
        assert all(tuple(sorted(step)) in near for step in itertools.pairwise(path))
    inside = graph.path(0, 8)
    assert (inside[0], inside[-1]) == (0, 8)
    assert all(tuple(sorted(step)) in near for step in itertools.pairwise(inside))
    assert graph.path(5, 5) == [5]


def test_triangles_and_cliques(index):
    graph = index.row_graph(6)
    near = [set(row) for row in graph.near.tolist()]
    found = graph.triangles()
    assert len(found)
    for a, b, c in found[:200]:
        assert a < b < c
        assert {b, c} <= near[a]
        assert {a, c} <= near[b]
        assert {a, b} <= near[c]
    assert [3, 11, 12] in found.tolist()
    cliques = graph.cliques(3)
    assert any({3, 11, 12} <= set(clique.tolist()) for clique in cliques)
    assert len(cliques[0]) == max(map(len, cliques))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_collections_of_few_rows(vectors, n):
    index = EnergyIndex.fit(vectors[20 : 20 + n], device="cpu")
    assert len(index.neighbours(0, 5)) == n - 1
    assert len(index.search_lambda(0, 5)) == n - 1
    graph = index.row_graph()
    assert graph.triangles().shape == (0, 3) or n == 3
    assert graph.path(0, 0) == [0]
    assert index.duplicates(1.0) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: i.neighbours(-1), "row is -1"),
        (lambda i: i.neighbours(1.5), r"row is 1\.5"),
        (lambda i: i.neighbours(0, 0), "k must be an integer"),
        (lambda i: i.search_lambda(float("nan")), "value_or_row is nan"),
        (lambda i: i.search_lambda("0.5"), "value_or_row is '0.5'"),
        (lambda i: i.search_lambda(N), f"row is {N}"),
        (lambda i: i.duplicates(0), "threshold is 0"),
        (lambda i: i.duplicates(1.2), r"threshold is 1\.2"),
        (lambda i: i.row_graph().path(0, N), f"row is {N}"),
        (lambda i: i.row_graph().around(0, -1), "hops is -1"),
    ],
)
def test_bad_input(index, call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(index)


def test_a_degenerate_row_or_question_spoils_no_batch():
    """A row of zeros, a copy and a question of zeros change no other answer of the batch."""
    rows = np.random.default_rng(3).normal(size=(60, 12)).astype(np.float32)
    rows[20], rows[21] = 0, rows[22]
    index = EnergyIndex.fit(rows)
    queries = rows[[3, 20, 22, 40]]
    whole = index.search(queries, k=5)
    assert np.isfinite(whole.distances).all()
    alone = [index.search(query, k=5) for query in queries]
    for place, one in enumerate(alone):
        assert one.ids[0].tolist() == whole.ids[place].tolist()
        np.testing.assert_allclose(one.distances[0], whole.distances[place], atol=1e-5)
    assert whole.ids[[0, 3], 0].tolist() == [3, 40]
    assert set(whole.ids[2, :2].tolist()) == {21, 22}
    assert [group.tolist() for group in index.duplicates(0.999)] == [[21, 22]]
    graph = index.row_graph(k=4)
    assert len(graph.rows) == 60
    assert np.isfinite(graph.distances).all()
    assert len(index.neighbours(20, 3)) == 3
