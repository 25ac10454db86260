from __future__ import annotations

import numpy as np
import pytest
import torch
from support.energy_data import clustered

from energy_plugin.energy.fit.anchors import assign, cell_means, default_count, fit_anchors
from energy_plugin.energy.fit.neighbours import cell_neighbours, exact_neighbours, neighbour_count


@pytest.fixture(scope="module")
def points():
    return torch.from_numpy(clustered(1500, 24, topics=30)[0])


def test_default_count_is_about_four_roots():
    assert [default_count(n) for n in (1, 2, 3, 10, 50, 1681, 1_000_000)] == [
        1, 1, 1, 5, 25, 164, 4000,
    ]  # fmt: skip


def test_assignment_is_the_nearest_anchor(points):
    cell, squared = assign(points, points[:40])
    gaps = torch.cdist(points.double(), points[:40].double()).square()
    assert torch.equal(cell, gaps.argmin(1))
    np.testing.assert_allclose(squared, gaps.min(1).values, atol=1e-5)


def test_anchors_are_plain_means_of_full_cells(points):
    anchors = fit_anchors(points, 60, seed=0, steps=8)
    cell, squared = assign(points, anchors)
    assert len(anchors) <= 60
    assert torch.bincount(cell, minlength=len(anchors)).min() >= 1
    # means of the cells before the last assignment: not unit length
    assert anchors.norm(dim=1).max() < 0.99
    means, _ = cell_means(points, cell, anchors)
    assert (means - anchors).norm(dim=1).median() < 0.05
    # measured: random rows as anchors .66 of the variance, these .40
    _, random = assign(points, points[:60])
    assert squared.mean() < 0.75 * random.mean()


def test_merge_and_split_move_anchors_into_heavy_cells():
    """Two far clusters, all first anchors in one of them."""
    rng = np.random.default_rng(0)
    tight = rng.standard_normal((300, 4)) * 0.01
    wide = rng.standard_normal((300, 4)) + 5
    points = torch.tensor(np.concatenate([tight, wide]), dtype=torch.float32)
    anchors = fit_anchors(points, 8, seed=0, steps=8, start=points[:8])
    cell, _ = assign(points, anchors)
    assert len(cell[300:].unique()) >= 2


def test_identical_points_have_one_anchor():
    anchors = fit_anchors(torch.ones(30, 5), 7, seed=0, steps=8)
    cell, squared = assign(torch.ones(30, 5), anchors)
    assert len(cell.unique()) == 1
    assert squared.max() < 1e-6


def test_same_seed_same_anchors(points):
    first, second = (fit_anchors(points, 50, seed=4, steps=8) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, fit_anchors(points, 50, seed=5, steps=8))


def test_neighbour_count_leaves_small_collections_apart():
    assert [neighbour_count(n, 8) for n in (0, 1, 2, 3, 10, 50, 64, 1000)] == [
        0, 0, 1, 1, 1, 6, 8, 8,
    ]  # fmt: skip


def test_cell_neighbours_find_most_of_the_exact_ones(points):
    """Measured recall@8 .999 with 24 adjacent cells of 60 (clustered rows)."""
    anchors = fit_anchors(points, 60, seed=0, steps=5)
    cell, _ = assign(points, anchors)
    found = cell_neighbours(points, 8, cell, anchors).numpy()
    exact = exact_neighbours(points, 8).numpy()
    recall = np.mean([len(set(a) & set(b)) / 8 for a, b in zip(found, exact, strict=True)])
    assert recall > 0.9
    assert not (found == np.arange(len(points))[:, None]).any()


def test_cell_neighbours_of_a_lonely_row_are_itself():
    points = torch.eye(3)
    found = cell_neighbours(points, 4, torch.tensor([0, 1, 2]), points)
    for i, row in enumerate(found.tolist()):
        assert set(row) <= {0, 1, 2}
        assert {0, 1, 2} - {i} <= set(row)
