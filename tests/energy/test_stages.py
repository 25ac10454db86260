"""The stages over the anchors, each against the oracle that is written from its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import energy_oracle as oracle
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.fit import anchors
from energy_plugin.energy.fit import laplacian as graph
from energy_plugin.energy.fit.build import energy_weights
from energy_plugin.energy.fit.grid import optical_compression, plane, trim_high_norms
from energy_plugin.energy.fit.splitting import local_gradients, split_dispersed
from energy_plugin.energy.taumode import AnchorGraph, choose_tau

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def points():
    return clustered(300, 16, topics=10)[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("trim", [0.0, 0.1, 0.4])
def test_trimmed_means(points, trim, device):
    x = torch.from_numpy(points).to(device)
    first = torch.cat([x[:25], 9 + x[:1]])  # the last one holds no row
    cell, squared = anchors.assign(x, first)
    got = anchors.trimmed_means(x, cell, squared, first, trim).cpu().numpy()
    expected = oracle.trimmed_means(
        points, cell.cpu().numpy(), squared.cpu().numpy(), first.cpu().numpy(), trim
    )
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_outlier_does_not_move_a_trimmed_mean():
    x = torch.cat(
        [torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([[1e3] * 3])]
    )
    cell, squared = anchors.assign(x, torch.zeros(1, 3))
    assert anchors.trimmed_means(x, cell, squared, torch.zeros(1, 3), 0.1).norm() < 1
    assert anchors.trimmed_means(x, cell, squared, torch.zeros(1, 3), 0.0).norm() > 50


def test_merge_and_split_lower_the_distortion(points):
    """Two anchors in one place are worth one; the heaviest cell gets the other."""
    x = torch.from_numpy(points)
    first = torch.cat([x[:1], x[:1] + 1e-3, x[1:6]])
    cell, squared = anchors.assign(x, first)
    moved = anchors.merge_and_split(x, first, cell, squared)
    assert moved.shape == first.shape
    assert anchors.assign(x, moved)[1].sum() < squared.sum()


@pytest.mark.parametrize("device", DEVICES)
def test_bootstrap_graph_and_diffusion(points, device):
    some = torch.from_numpy(points[:40]).to(device)
    weights, _ = oracle.bootstrap_weights(points[:40].astype(float), 6)
    got = graph.bootstrap_weights(some, 6)
    np.testing.assert_allclose(got.cpu(), weights, atol=1e-5)
    flowed = graph.diffuse(some, got, 0.2, 3).cpu()
    expected = oracle.diffuse(points[:40].astype(float), weights, 0.2, 3)
    np.testing.assert_allclose(flowed, expected, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("config", [EnergyConfig(), EnergyConfig.preset("arrowspace")])
def test_energy_laplacian(points, config, device):
    some = torch.from_numpy(points[:40]).to(device)
    weights, bandwidth = energy_weights(some, config)
    expected, width = oracle.energy_laplacian(points[:40].astype(float), config)
    assert bandwidth == pytest.approx(width, rel=1e-5)
    np.testing.assert_allclose(graph.laplacian(weights).cpu(), expected, atol=2e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_splitting(points, share, device):
    some = torch.from_numpy(points[:40]).to(device)
    weights = graph.bootstrap_weights(some, 5)
    _, dispersion = AnchorGraph(some, weights, 0.5, 5).energies(some)
    got = split_dispersed(some, weights, dispersion, share).cpu().numpy()
    expected = oracle.split_dispersed(
        points[:40].astype(float), weights.cpu().numpy(), dispersion.cpu().numpy(), share
    )
    assert len(got) == 40 + int(share * 40)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_anchor_without_edges_is_not_split():
    some = torch.eye(3)
    assert not local_gradients(some, torch.zeros(3, 3)).any()
    assert torch.equal(split_dispersed(some, torch.zeros(3, 3), torch.ones(3), 1.0), some)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("budget", [1, 7, 16, 60])
def test_optical_compression(points, budget, device):
    some = points[:100].astype(np.float32) * np.linspace(0.5, 1, 100, dtype=np.float32)[:, None]
    rows = np.random.default_rng(1).integers(1, 50, 100)
    flat = some @ plane(16, 3).numpy()
    got, member = optical_compression(
        torch.from_numpy(some).to(device), torch.from_numpy(rows).to(device), budget, seed=3
    )
    expected, where = oracle.optical_compression(some.astype(float), rows, budget, flat, 0.1)
    assert len(got) <= budget
    # bins may come in another order
    order = [int(member[int(np.flatnonzero(where == i)[0])]) for i in range(len(expected))]
    assert sorted(order) == list(range(len(got)))
    np.testing.assert_allclose(got.cpu().numpy()[order], expected, atol=1e-4)
    assert np.array_equal(np.array(order)[where], member.cpu().numpy())


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_budget_is_kept_and_nothing_is_lost(m, budget, dim):
    rng = np.random.default_rng(m)
    some = torch.from_numpy(rng.standard_normal((m, dim)).astype(np.float32))
    rows = torch.from_numpy(rng.integers(0, 9, m))
    got, member = optical_compression(some, rows, budget)
    assert 1 <= len(got) <= min(budget, m)
    assert torch.isfinite(got).all()
    assert sorted(member.unique().tolist()) == list(range(len(got)))
    if budget >= m:
        assert torch.equal(got, some)


def test_high_norms_are_trimmed_but_never_a_whole_bin():
    norms = torch.arange(1.0, 11.0)[:, None]
    assert (
        trim_high_norms(norms, torch.zeros(10, dtype=torch.long), 0.2).tolist()
        == [True] * 8 + [False] * 2
    )
    assert trim_high_norms(norms[:1], torch.zeros(1, dtype=torch.long), 0.9).all()


@pytest.mark.parametrize(
    ("mode", "tau", "expected"),
    [("fixed", 0.3, 0.3), ("median", 0.5, 3.0), ("mean", 0.5, 4.0), ("percentile", 0.75, 4.0)],
)
def test_tau_of_each_mode(mode, tau, expected):
    rough = torch.tensor([10.0, 2.0, 3.0, 1.0, 4.0])
    assert choose_tau(rough, EnergyConfig(tau_mode=mode, tau=tau)) == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["fixed", "median", "mean", "percentile"])
def test_taumode_invariants(mode):
    """λ ≥ 0 and finite; a row's own when it asks; the order of rows is nothing to it."""
    rows, _ = clustered(200, 20)
    index = EnergyIndex.fit(rows, EnergyConfig(tau_mode=mode, tau=0.4), device="cpu")
    lambda_, dispersion = index.field.taumode(rows)
    np.testing.assert_allclose(lambda_, index.columns.lambda_, atol=1e-6)
    np.testing.assert_allclose(dispersion, index.columns.dispersion, atol=1e-6)
    assert np.isfinite(lambda_).all()
    assert (lambda_ >= 0).all()
    assert ((dispersion >= 0) & (dispersion <= 1)).all()
    shuffle = np.random.default_rng(0).permutation(200)
    np.testing.assert_allclose(index.field.taumode(rows[shuffle])[0], lambda_[shuffle], atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        EnergyConfig(anchor_budget=9),
        EnergyConfig(anchor_split=0.3),
        EnergyConfig(anchor_budget=20, anchor_split=0.5, anchor_trim=0.3),
        EnergyConfig(anchor_budget=1),
    ],
)
def test_every_stage_in_a_field(config):
    rows, _ = clustered(400, 24)
    index = EnergyIndex.fit(rows, config, device="cpu")
    plain = EnergyIndex.fit(rows, EnergyConfig(), device="cpu").field.n_anchors
    kept = plain if config.anchor_budget is None else config.anchor_budget
    assert index.field.n_anchors <= kept + int(config.anchor_split * kept)
    assert (index.field.n_anchors > plain) == (config.anchor_budget is None)
    assert np.isfinite(index.columns.lambda_).all()
    found = index.search(rows[:50], k=1).ids[:, 0]
    assert (found == np.arange(50)).mean() > 0.9
