"""The short way of one query gives the answers of the general way."""

from __future__ import annotations

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.search import single


@pytest.fixture(scope="module")
def many():
    return clustered(3000, 40, topics=60)[0]


@pytest.fixture(scope="module")
def asked():
    return clustered(25, 40, topics=60)[0] + 0.3 * clustered(25, 40, seed=5)[0]


CONFIGS = {
    "default": EnergyConfig(),
    "plain": EnergyConfig.plain(),
    "arrowspace": EnergyConfig.preset("arrowspace"),
    "power": EnergyConfig(weight_power=1.5, pool=37, local_neighbours=3),
    "no flow": EnergyConfig(local_heat=0.0),
    "no pull": EnergyConfig(query_heat=0.0, weight_dispersion=0.01),
}


def same(index, queries, monkeypatch, **options):
    """Compare both ways; the ids may differ where distances are equal to rounding."""
    short = [index.search(query, **options) for query in queries]
    with monkeypatch.context() as patch:
        patch.setattr(single, "applies", lambda store: False)
        general = [index.search(query, **options) for query in queries]
    moved = 0
    for one, other in zip(short, general, strict=True):
        assert one.ids.shape == other.ids.shape
        assert one.ids.dtype == other.ids.dtype
        np.testing.assert_allclose(one.distances, other.distances, atol=3e-6)
        np.testing.assert_allclose(one.relevance, other.relevance, atol=2e-2)
        equal = one.ids == other.ids
        moved += (~equal).sum()
        for name in ("lambda_", "dispersion", "dirichlet", "lexical"):
            mine, theirs = getattr(one.terms, name), getattr(other.terms, name)
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(mine[equal], theirs[equal], atol=1e-4)
        np.testing.assert_allclose(one.relevance[equal], other.relevance[equal], atol=1e-5)
        assert np.array_equal(one.work.cells_probed, other.work.cells_probed)
        assert np.array_equal(one.work.rows_scored, other.work.rows_scored)
    assert moved <= 0.01 * sum(one.ids.size for one in short)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("k", [1, 10, 500])
def test_the_same_answers(many, asked, monkeypatch, name, k):
    index = EnergyIndex.fit(many[:700], CONFIGS[name], device="cpu")
    same(index, asked[:8], monkeypatch, k=k)


def test_the_same_answers_among_some_rows_and_after_changes(many, asked, monkeypatch):
    index = EnergyIndex.fit(many[:600], device="cpu")
    same(index, asked[:4], monkeypatch, k=20, rows=np.arange(0, 600, 7))
    same(index, asked[:4], monkeypatch, k=20, rows=np.arange(50, 600))
    index.add(many[600:700])
    index.remove(np.arange(0, 90))
    same(index, asked[:4], monkeypatch, k=20)
    index.lower(np.arange(100, 300), 2)
    same(index, asked[:4], monkeypatch, k=20)
    index.remove(np.arange(90, 300))  # tombstones are cleared away
    same(index, asked[:4], monkeypatch, k=20)
    same(index, asked[:4], monkeypatch, k=20, min_relevance=0.5)
    same(index, asked[:2], monkeypatch, k=5, n_probe="all")


@pytest.mark.parametrize("name", ["default", "plain"])
def test_sketches_of_all_components_choose_what_scoring_every_row_finds(
    many, asked, monkeypatch, name
):
    """Also when rows are added that are beyond the scale of the sketches."""
    monkeypatch.setattr(single, "DIRECT", 0)
    index = EnergyIndex.fit(many[:2800], CONFIGS[name], device="cpu")
    sure = []
    choose = single._sure
    monkeypatch.setattr(single, "_sure", lambda *a: sure.append(choose(*a)) or sure[-1])
    same(index, asked, monkeypatch, k=10)
    assert sum(one is not None for one in sure) > 0.6 * len(asked)
    scale = index._store._sketcher.scale
    index.add(np.eye(40, dtype=np.float32) @ np.linalg.qr(many[:40])[0])
    index._store._sketcher = type(index._store._sketcher)(
        index._store._sketcher.basis, 2 * scale, index._store._sketcher.lead, exact=True
    )
    same(index, asked, monkeypatch, k=10)
    assert index._store._sketcher.scale < 2 * scale  # made again
    index.remove(np.arange(0, 300))
    same(index, asked, monkeypatch, k=10, rows=np.arange(200, 2500))


def test_where_sketches_cannot_tell_rows_apart_every_row_is_scored(asked, monkeypatch):
    """Copies: no row that is left out is farther away than one that was chosen."""
    monkeypatch.setattr(single, "DIRECT", 0)
    rows = np.repeat(clustered(3, 40)[0], 400, axis=0) + 1e-4 * clustered(1200, 40, seed=3)[0]
    index = EnergyIndex.fit(rows, EnergyConfig.plain(8), device="cpu")
    choose, sure = single._sure, []
    monkeypatch.setattr(single, "_sure", lambda *a: sure.append(choose(*a)) or sure[-1])
    for row in rows[::300]:
        one = index.search(row, 150)
        both = index.search(np.stack([row, row]), 150)
        np.testing.assert_allclose(one.distances, both.distances[:1], atol=1e-3)  # √ of rounding
    assert sure == [None] * 4


def test_sketches_change_when_the_collection_outgrows_exact_search(many, asked, monkeypatch):
    monkeypatch.setattr(single, "DIRECT", 0)
    index = EnergyIndex.fit(many[:400], EnergyConfig(exhaustive_rows=500), device="cpu")
    index.search(asked[0], 10)
    assert index._store._sketcher.exact
    index.add(many[400:2000])
    same(index, asked, monkeypatch, k=10)
    assert not index._store._sketcher.exact


def test_a_query_without_direction_goes_the_general_way(many, monkeypatch):
    index = EnergyIndex.fit(many[:300], device="cpu")
    same(index, np.zeros((1, 40), np.float32), monkeypatch, k=5)
    rows = many[:300].copy()
    rows[7] = 0
    other = EnergyIndex.fit(rows, device="cpu")
    assert not single.applies(other._store)
    assert other.search(many[0], 300).ids[0, -1] == 7


@pytest.mark.parametrize("name", ["default", "power", "no flow"])
def test_the_same_answers_with_words(many, asked, monkeypatch, name):
    index = EnergyIndex.fit(many[:700], CONFIGS[name], device="cpu")
    rng = np.random.default_rng(0)
    for k, weight in ((1, None), (40, 0.0), (10, 0.8), (690, None)):
        scores = (rng.gamma(2, 1, 700) * (rng.random(700) < 0.2)).astype(np.float32)
        same(index, asked[:6], monkeypatch, k=k, lexical=scores[None], lexical_weight=weight)
        rows = np.arange(0, 700, 2)
        same(index, asked[:3], monkeypatch, k=k, lexical=scores[None], rows=rows)
    none = np.zeros((1, 700), dtype=np.float32)
    same(index, asked[:3], monkeypatch, k=10, lexical=none)


def test_the_same_answers_with_words_by_sketches(many, asked, monkeypatch):
    index = EnergyIndex.fit(many, EnergyConfig(exhaustive_rows=500), device="cpu")
    scores = np.zeros((1, 3000), dtype=np.float32)
    scores[0, ::7] = np.linspace(1, 4, 429)
    same(index, asked[:6], monkeypatch, k=10, lexical=scores)
