"""The paired comparison against an exhaustive count."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from energy_plugin.evaluation import compare, rank_by_cosine


def test_counts_and_difference():
    result = compare(np.array([0.5, 0.5, 0.5, 0.1]), np.array([0.6, 0.5, 0.4, 0.9]))
    assert (result.win, result.tie, result.loss) == (2, 1, 1)
    assert result.difference == pytest.approx(0.2)


def test_p_value_against_all_sign_assignments():
    differences = np.array([0.3, -0.1, 0.25, 0.4, 0.05, -0.02, 0.11, 0.2])
    sums = np.array([np.dot(signs, differences) for signs in product((-1, 1), repeat=8)])
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    result = compare(np.zeros(8), differences, permutations=20_000)
    assert result.p_value == pytest.approx(exact, abs=0.01)  # 3 standard errors are .006


def test_equal_rankings_and_the_seed():
    same = np.linspace(0, 1, 30)
    assert compare(same, same).p_value == 1.0
    other = same[::-1] + 0.1
    assert compare(same, other, seed=3) == compare(same, other, seed=3)


def test_cosine_ranking_breaks_ties_by_row():
    corpus = np.array([[0, 1], [1, 0], [0, 0], [1, 0], [0.6, 0.8]], dtype=np.float32)
    queries = np.array([[1, 0], [0, 1]], dtype=np.float32)
    expected = [[1, 3, 4, 0, 2], [0, 4, 1, 2, 3]]
    np.testing.assert_array_equal(rank_by_cosine(corpus, queries, 9), expected)
    np.testing.assert_array_equal(rank_by_cosine(corpus, queries, 2), [[1, 3], [0, 4]])
