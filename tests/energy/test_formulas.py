"""Each stage against the oracle that is written from its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import laplacian as scipy_laplacian
from support import energy_oracle as oracle
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.codec.codes import decode, encode, levels
from energy_plugin.energy.distance import dirichlet, robust_scale
from energy_plugin.energy.fit import heat, metric
from energy_plugin.energy.fit import laplacian as graph
from energy_plugin.energy.fit.neighbours import exact_neighbours
from energy_plugin.energy.search.local import joined_similarity
from energy_plugin.energy.taumode import AnchorGraph


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(3)
    return oracle.unit(rng.standard_normal((40, 9)) + 0.7)


def test_neighbours_are_the_exact_ones(small):
    found = exact_neighbours(torch.tensor(small), 5).numpy()
    assert np.array_equal(found, oracle.nearest(small, 5))


def test_dirichlet_form_is_the_mean_outer_product_over_edges(small):
    near = oracle.nearest(small, 5)
    form = metric.dirichlet_form(torch.tensor(small), torch.tensor(near)).numpy()
    np.testing.assert_allclose(form, oracle.dirichlet_form(small, near), atol=1e-12)


def test_dirichlet_form_is_the_laplacian_form(small):
    """Σ over edges (xᵢ−xⱼ)(xᵢ−xⱼ)ᵀ = XᵀLX, with L of the graph that counts both directions."""
    near = oracle.nearest(small, 5)
    adjacency = np.zeros((40, 40))
    np.put_along_axis(adjacency, near, 1.0, axis=1)
    expected = small.T @ oracle.laplacian(adjacency + adjacency.T) @ small / near.size
    form = metric.dirichlet_form(torch.tensor(small), torch.tensor(near)).numpy()
    np.testing.assert_allclose(form, expected, atol=1e-12)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_metric(small, exponent):
    form = oracle.dirichlet_form(small, oracle.nearest(small, 5))
    got = metric.dirichlet_metric(torch.tensor(form), 1.5, exponent).numpy()
    np.testing.assert_allclose(got, oracle.dirichlet_metric(form, 1.5, exponent), atol=1e-6)


def test_mean_similarity_and_strength(small):
    similarity = metric.mean_similarity(torch.tensor(small))
    assert similarity == pytest.approx(oracle.mean_similarity(small), abs=1e-9)
    strong = metric.strength(0.5, 10**9, 384, EnergyConfig())
    assert strong.gamma == pytest.approx(0.6 + 0.027 * 16, rel=1e-6)
    assert strong.heat == 1.0
    weak = metric.strength(0.1, 1000, 500, EnergyConfig())
    assert weak.gamma == pytest.approx((0.6 + 270) * 1.5)
    assert weak.heat == pytest.approx(0.4)
    assert metric.strength(0.0, 1, 8, EnergyConfig()).gamma == metric.GAMMA_CAP


def test_neighbourhood_similarity(small, monkeypatch):
    rows = torch.tensor(small)
    assert metric.neighbourhood_similarity(rows, 0) == metric.mean_similarity(rows)
    monkeypatch.setattr(metric, "REACH", 7)
    got = metric.neighbourhood_similarity(rows, 0)
    assert got == pytest.approx(oracle.neighbourhood_similarity(small, 7), abs=1e-9)


def test_a_mixture_of_subjects_is_as_strong_as_its_subjects():
    """Three focused collections in one: m̄ falls to a third, ν stays."""
    parts = [
        torch.from_numpy(clustered(400, 48, topics=4, shared=2.0, seed=s)[0]) for s in range(3)
    ]
    alone = np.mean([metric.neighbourhood_similarity(rows, 0) for rows in parts])
    mixed = torch.cat(parts)
    assert metric.neighbourhood_similarity(mixed, 0) == pytest.approx(alone, rel=0.05)
    assert metric.mean_similarity(mixed) < 0.5 * alone


def test_heat_step(small):
    near = oracle.nearest(small, 4)
    got = heat.smooth(torch.tensor(small), torch.tensor(small), torch.tensor(near), 0.3, 3.0)
    np.testing.assert_allclose(got, oracle.heat_step(small, near, 0.3, 3.0), atol=1e-12)


def test_heat_leaves_a_row_without_a_positive_neighbour():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    out = heat.smooth(rows, rows, torch.tensor([[1], [0]]), 0.5, 3.0)
    assert torch.equal(out, rows)


def test_heat_flow_lowers_the_dirichlet_energy(small):
    near = torch.tensor(oracle.nearest(small, 4))
    before = torch.tensor(small)
    after = heat.smooth(before, before, near, 0.3, 3.0)
    traces = [float(metric.dirichlet_form(x, near).trace()) for x in (before, after)]
    assert traces[1] < 0.8 * traces[0]


def test_anchor_laplacian_is_scipys(small):
    weights = graph.bootstrap_weights(torch.tensor(small, dtype=torch.float32), 4)
    got = graph.laplacian(weights).numpy()
    np.testing.assert_allclose(got, scipy_laplacian(weights.numpy()), atol=1e-6)
    assert np.array_equal(got, got.T)
    assert np.linalg.eigvalsh(got).min() > -1e-5
    np.testing.assert_allclose(got.sum(1), 0, atol=1e-5)


def test_diffusion_keeps_a_constant_and_contracts_the_rest(small):
    points = torch.tensor(small, dtype=torch.float32)
    weights = graph.bootstrap_weights(points, 4)
    same = graph.diffuse(torch.ones(40, 2), weights, 0.2, 3)
    np.testing.assert_allclose(same, np.ones((40, 2)), atol=1e-6)
    assert graph.diffuse(points, weights, 0.2, 3).var(0).sum() < points.var(0).sum()


@pytest.mark.parametrize("affinity", [1, 3, 40, 99])
def test_energies_of_a_signal(small, affinity):
    anchors = small[:15]
    weights = graph.bootstrap_weights(torch.tensor(anchors, dtype=torch.float32), 4)
    rough, dispersion = AnchorGraph(
        torch.tensor(anchors, dtype=torch.float32), weights, 0.6, affinity
    ).energies(torch.tensor(small, dtype=torch.float32))
    expected = np.array(
        [oracle.energies(x, anchors, weights.numpy().astype(float), 0.6, affinity) for x in small]
    )
    np.testing.assert_allclose(rough, expected[:, 0], atol=2e-5)
    np.testing.assert_allclose(dispersion, expected[:, 1], atol=2e-5)


def test_taumode_of_an_index(index, queries):
    """λ and G of queries, from the stored arrays alone."""
    field = index.field
    projection = field.projection("cpu")
    points = projection.project(queries)[0].numpy().astype(float)
    weights = projection.graph.weights.numpy().astype(float)
    anchors = field.anchors.astype(float)
    lambda_, dispersion = field.taumode(queries)
    for x, got_lambda, got_dispersion in zip(points, lambda_, dispersion, strict=True):
        rough, g = oracle.energies(
            x, anchors, weights, field.scalars.bandwidth, field.config.affinity_anchors
        )
        assert got_dispersion == pytest.approx(g, abs=1e-4)
        expected = oracle.taumode(rough, g, field.scalars.tau, field.config.alpha)
        assert got_lambda == pytest.approx(expected, abs=1e-4)


def test_dirichlet_distance():
    got = dirichlet(torch.tensor([1.0, 0.5, 0.0, -1.0, 1.0000001]))
    np.testing.assert_allclose(got, [0, 0.5, 2**0.5 / (1 + 2**0.5), 2 / 3, 0], atol=1e-6)


def test_robust_scale():
    assert robust_scale(torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0])) == pytest.approx(1.4826)
    assert robust_scale(torch.tensor([2.0, 2.0, 2.0])) == 1.0
    assert robust_scale(torch.tensor([])) == 1.0


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_levels_are_the_means_of_their_intervals(bits):
    np.testing.assert_allclose(levels(bits), oracle.level_table(bits), atol=2e-3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes(bits):
    residuals = np.random.default_rng(1).standard_normal((30, 64)).astype(np.float32) * 0.03
    got = decode(encode(torch.tensor(residuals), bits), 64)
    table = levels(bits).astype(float)
    expected = np.array([oracle.encode_decode(r.astype(float), bits, table) for r in residuals])
    np.testing.assert_allclose(got, expected, atol=1e-4)  # float16 scales


def test_heat_never_cools_a_candidate_and_never_tops_the_warmest(small):
    query, candidates = torch.tensor(small[:1]), torch.tensor(small[None, 1:])
    real = torch.ones(1, len(small) - 1, dtype=torch.bool)
    settings = {"query_heat": 0.15, "neighbours": 5, "query_neighbours": 3, "power": 3.0}
    before, after = (
        joined_similarity(query, candidates, real, heat=heat, **settings) for heat in (0.0, 0.7)
    )
    assert (after >= before).all()
    assert (after > before).float().mean() > 0.3
    assert after.max() == before.max()
    assert after.argmax() == before.argmax()


def test_the_query_joins_the_graph(small):
    query, candidates = small[0], small[1:]
    settings = {
        "heat": 0.3,
        "query_heat": 0.2,
        "neighbours": 5,
        "query_neighbours": 3,
        "power": 3.0,
    }
    got = joined_similarity(
        torch.tensor(query)[None],
        torch.tensor(candidates)[None],
        torch.ones(1, len(candidates), dtype=torch.bool),
        **settings,
    )
    np.testing.assert_allclose(got[0], oracle.joined(query, candidates, **settings), atol=1e-9)


@pytest.mark.parametrize(
    "config",
    [
        EnergyConfig(pool=50),
        EnergyConfig(pool=10_000),
        EnergyConfig.preset("arrowspace", pool=100),
        EnergyConfig(bits=1, weight_lambda=0.0),
    ],
)
def test_search_end_to_end(rows, queries, config):
    """Ids, distances and their order over the whole list, from stored columns alone."""
    index = EnergyIndex.fit(rows, config, device="cpu")
    projection = index.field.projection("cpu")
    columns = index.columns
    decoded = projection.decode(columns.cell, columns.residual).numpy().astype(float)
    points = projection.project(queries)[0].numpy().astype(float)
    lambda_, dispersion = index.field.taumode(queries)
    result = index.search(queries, k=len(rows))
    for i, point in enumerate(points[:8]):
        ids, distances = oracle.search(
            point,
            lambda_[i],
            dispersion[i],
            decoded,
            columns.lambda_,
            columns.dispersion,
            index.field,
        )
        np.testing.assert_allclose(result.distances[i], distances, atol=3e-4)
        assert (result.ids[i] == ids).mean() > 0.9  # neighbours in rank may swap by rounding
        assert set(result.ids[i][:10]) == set(ids[:10])
