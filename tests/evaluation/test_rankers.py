"""The rankings that an evaluation compares differ where, and only where, they should."""

from __future__ import annotations

import numpy as np
import pytest

from energy_plugin.energy import EnergyConfig
from energy_plugin.evaluation.rankers import ABLATIONS, rankers
from energy_plugin.evaluation.vectors import CollectionVectors, normalise


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 24)) + 0.8
    corpus = np.repeat(centres, 25, axis=0) + 1.2 * rng.normal(size=(300, 24))
    return CollectionVectors(
        normalise(corpus), normalise(centres + 0.8 * rng.normal(size=(12, 24)))
    )


def test_every_term_that_is_off_changes_the_ranking(vectors):
    config = EnergyConfig(weight_lambda=0.05, weight_dispersion=0.05)
    found = rankers(config, ablate=True)
    assert list(found)[3:] == [f"without {name}" for name in ABLATIONS]
    energy = found["energy"](vectors, 50).rows
    for name in list(found)[2:]:
        assert (found[name](vectors, 50).rows != energy).mean() > 0.01, name


def test_a_term_that_is_off_already_has_no_row():
    assert "without term of G" not in rankers(EnergyConfig(weight_dispersion=0.0), ablate=True)


def test_reranking_keeps_what_lies_deeper(vectors):
    found = rankers(rerank_first=40)
    cosine = found["cosine"](vectors, 60).rows
    for name in ("rerank, field", "rerank, candidates"):
        rows = found[name](vectors, 60).rows
        np.testing.assert_array_equal(rows[:, 40:], cosine[:, 40:])
        np.testing.assert_array_equal(np.sort(rows[:, :40]), np.sort(cosine[:, :40]))
        assert (rows[:, :40] != cosine[:, :40]).any()
