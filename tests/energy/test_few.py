"""Few rows ranked by their own columns get the numbers of a search among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.search.few import among
from energy_plugin.errors import InvalidInputError

N, D = 700, 32
CONFIGS = {
    "defaults": EnergyConfig(),
    "a small pool": EnergyConfig(pool=40),
    "much λ and G": EnergyConfig(weight_lambda=0.3, weight_dispersion=0.2),
    "without heat of the query": EnergyConfig(query_heat=0.0, lexical_heat=0.0),
    "without heat": EnergyConfig(query_heat=0.0, local_heat=0.0),
    "another power": EnergyConfig(weight_power=1.7, local_neighbours=3, query_neighbours=1),
}


def both(index, rows, query, scores, weight=None):
    """Distances and relevance by `among` and by a search of two queries, of rows that ascend."""
    got = among(
        index.field,
        index.columns_of(rows),
        query,
        lexical=None if scores is None else scores[rows],
        lexical_weight=weight,
        relevance=True,
        device="cpu",
    )
    found = index.search(
        np.stack([query, query]),
        len(rows),
        rows=rows,
        n_probe="all",
        lexical=None if scores is None else np.stack([scores, scores]),
        lexical_weight=weight,
    )
    at = np.searchsorted(rows, found.ids[0])
    wanted = np.empty((2, len(rows)), dtype=np.float32)
    wanted[:, at] = found.distances[0], found.relevance[0]
    return got, wanted


@pytest.mark.parametrize("kind", CONFIGS)
def test_as_a_search_among_the_rows(kind):
    vectors = clustered(N, D)[0]
    vectors[5] = 0  # a row without direction
    index = EnergyIndex.fit(vectors, CONFIGS[kind], device="cpu")
    rng = np.random.default_rng(1)
    for count, share in ((1, None), (2, 0.5), (30, 0.0), (150, None), (299, 0.9), (420, None)):
        rows = np.union1d(rng.choice(N, count, replace=False), [5])
        query = 7 * clustered(1, D, seed=count)[0][0]
        scores = (rng.gamma(2, 1, N) * (rng.random(N) < 0.4)).astype(np.float32)
        for words in (None, scores):
            got, wanted = both(index, rows, query, words, share)
            np.testing.assert_allclose(got[0], wanted[0], atol=2e-5)
            np.testing.assert_allclose(got[1], wanted[1], atol=1e-5)


def test_corners():
    index = EnergyIndex.fit(clustered(N, D)[0], device="cpu")
    rows = np.arange(60)
    zero = np.zeros(D, dtype=np.float32)
    none = np.zeros(N, dtype=np.float32)
    some = np.linspace(0, 3, N, dtype=np.float32)
    for query, words in ((zero, None), (zero, some), (clustered(1, D)[0][0], none)):
        got, wanted = both(index, rows, query, words)
        np.testing.assert_allclose(got, wanted, atol=2e-5)
    nothing = among(index.field, index.columns.take([]), zero, relevance=True)
    assert [len(each) for each in nothing] == [0, 0]
    with pytest.raises(InvalidInputError, match="dimension"):
        among(index.field, index.columns_of(rows), np.ones(D + 1))
    with pytest.raises(InvalidInputError, match="lexical_weight"):
        among(index.field, index.columns_of(rows), zero, lexical_weight=2)


def test_columns_stay_as_they_are():
    index = EnergyIndex.fit(clustered(N, D)[0], device="cpu")
    columns = index.columns_of(np.arange(40))
    kept = replace(columns, residual=columns.residual.copy())
    query = clustered(1, D, seed=2)[0][0]
    first, again = (among(index.field, columns, query)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(columns.residual, kept.residual)
