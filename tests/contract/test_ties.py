"""A row between two anchors: rounding decides its cell, and nothing is altered by that."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.energy import EnergyIndex
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.stored.checking import TOLERANCE, wrong_rows


def both_sides(field, a, b):
    """Neighbouring vectors on the way from a to b between which λ jumps."""
    for _ in range(200):
        middle = ((a + b) / 2).astype(np.float32)
        if np.array_equal(middle, a) or np.array_equal(middle, b):
            break
        of_a, of_middle, of_b = field.taumode(np.stack([a, middle, b]))[0]
        a, b = (middle, b) if abs(of_middle - of_b) > abs(of_a - of_middle) else (a, middle)
    return a, field.taumode(np.stack([a, b]))[0]


@pytest.fixture(scope="module")
def tied():
    """An index whose first row lies at a jump, and λ of its two sides."""
    vectors = clustered(600, 24, seed=2)[0]
    index = EnergyIndex.fit(vectors, device="cpu")
    for other in range(1, 200):
        a, lambdas = both_sides(index.field, vectors[0], vectors[other])
        if abs(lambdas[0] - lambdas[1]) > 10 * TOLERANCE:
            vectors[0] = a
            return index, vectors, lambdas
    pytest.fail("no jump was found")


def taken(index, vectors, lambda_of_the_first):
    lambda_, dispersion = index.field.taumode(vectors)
    lambda_[0] = lambda_of_the_first
    if lambda_of_the_first != index.field.taumode(vectors[:1])[0][0]:
        near = vectors[0] + np.random.default_rng(1).uniform(-3e-7, 3e-7, (200, vectors.shape[1]))
        lambdas, dispersions = index.field.taumode(near.astype(np.float32))
        dispersion[0] = dispersions[np.argmin(np.abs(lambdas - lambda_of_the_first))]
    columns = replace(index.columns, lambda_=lambda_, dispersion=dispersion)
    return SimpleNamespace(
        vectors=vectors,
        fingerprints=fingerprint(vectors),
        index=SimpleNamespace(columns=columns, field=index.field),
    )


def test_both_sides_of_a_tie_are_right(tied):
    index, vectors, lambdas = tied
    for lambda_ in lambdas:
        assert len(wrong_rows(taken(index, vectors, lambda_))) == 0


def test_what_is_no_side_of_a_tie_is_altered(tied):
    index, vectors, lambdas = tied
    altered = taken(index, vectors, lambdas[0])
    altered.index.columns.lambda_[0] = np.mean(lambdas)
    altered.index.columns.dispersion[7] += 3 * TOLERANCE
    altered.fingerprints[9] ^= 1
    assert wrong_rows(altered).tolist() == [0, 7, 9]
