"""Vectors made to have the properties of the common kinds rank at least as well as by cosine."""

from __future__ import annotations

import numpy as np
import pytest

from energy_plugin.energy import EnergyIndex

SEEDS = (0, 1, 2)
SUBJECTS, ROWS, QUESTIONS, LATENT = 60, 10, 50, 32
K, DEPTH = 10, 100
WHITE = 64  # directions that whitening keeps


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def made(seed, dim):
    """Rows (600, dim), questions (50, dim), and the subject of each.

    Rows and questions scatter around their subject in a latent space of 32 dimensions, which is
    drawn into `dim` and covered with noise. Every row of a question's subject answers it.
    """
    rng = np.random.default_rng(seed)
    topics = unit(rng.standard_normal((SUBJECTS, LATENT)))
    subject = np.repeat(np.arange(SUBJECTS), ROWS)
    asked = rng.choice(SUBJECTS, QUESTIONS, replace=False)
    basis = np.linalg.qr(rng.standard_normal((dim, LATENT)))[0].T

    def draw(which, spread):
        latent = topics[which] + rng.standard_normal((len(which), LATENT)) * spread / LATENT**0.5
        return latent @ basis + rng.standard_normal((len(which), dim)) / dim**0.5

    return draw(subject, 0.9), draw(asked, 1.1), subject, asked


def near_zero_mean(rows, queries, rng):
    mean = unit(rows).mean(0)
    return unit(rows) - mean, unit(queries) - mean


def one_direction(rows, queries, rng):
    """A common direction twice as long as the rows: mean similarity .8."""
    common = unit(rng.standard_normal((1, rows.shape[1]))) * 2 * np.linalg.norm(rows, axis=1).mean()
    return rows + common, queries + common


def loud_dimensions(rows, queries, rng):
    """Three dimensions with a large mean and a variance that says nothing, as in many encoders."""
    loud = rng.choice(rows.shape[1], 3, replace=False)
    out = rows.copy(), queries.copy()
    for x in out:
        x[:, loud] += 1 + 0.3 * rng.standard_normal((len(x), 3))
    return out


def whitened(rows, queries, rng):
    """The same variance in each of the first principal directions, none in the others."""
    mean = rows.mean(0)
    _, size, axes = np.linalg.svd(rows - mean, full_matrices=False)
    white = axes[:WHITE].T / size[:WHITE]
    return (rows - mean) @ white, (queries - mean) @ white


def unnormalised(rows, queries, rng):
    return tuple(unit(x) * 10 ** rng.uniform(-1.5, 1.5, (len(x), 1)) for x in (rows, queries))


def truncated(rows, queries, rng):
    return rows[:, :64], queries[:, :64]


def signs(rows, queries, rng):
    return tuple(np.where(x >= 0, 1.0, -1.0) for x in (rows, queries))


def as_they_are(rows, queries, rng):
    return rows, queries


# kind, dimensions, what energy must add to cosine in nDCG@10 and MAP, mean over the seeds;
# whitened vectors have no common directions left, and gain about nothing
CASES = [
    (near_zero_mean, 384, 0.03),
    (one_direction, 384, 0.05),
    (loud_dimensions, 384, 0.03),
    (whitened, 384, 0.0),
    (unnormalised, 384, 0.03),
    (truncated, 384, 0.01),
    (signs, 384, 0.01),
    (as_they_are, 64, 0.03),
    (as_they_are, 768, 0.03),
    pytest.param(as_they_are, 3072, 0.03, marks=pytest.mark.slow),
]


def vectors(kind, dim, seed):
    rows, queries, subject, asked = made(seed, dim)
    rows, queries = kind(rows, queries, np.random.default_rng(seed + 100))
    return rows.astype(np.float32), queries.astype(np.float32), subject, asked


def quality(ids, subject, asked):
    """nDCG@10 and MAP within the first hundred, means over the questions."""
    right = subject[ids] == asked[:, None]
    gain = 1 / np.log2(np.arange(2, K + 2))
    precision = np.cumsum(right, axis=1) / np.arange(1, DEPTH + 1)
    ndcg = (right[:, :K] * gain).sum(1) / gain.sum()
    return np.array([ndcg.mean(), ((precision * right).sum(1) / ROWS).mean()])


@pytest.mark.parametrize(("kind", "dim", "least"), CASES)
def test_energy_ranks_at_least_as_well_as_cosine(kind, dim, least):
    cosine, energy = [], []
    for seed in SEEDS if dim < 1000 else SEEDS[:1]:
        rows, queries, subject, asked = vectors(kind, dim, seed)
        order = np.argsort(-(unit(queries) @ unit(rows).T), axis=1, kind="stable")[:, :DEPTH]
        cosine.append(quality(order, subject, asked))
        found = EnergyIndex.fit(rows, device="cpu").search(queries, DEPTH)
        energy.append(quality(found.ids, subject, asked))
    added = np.array(energy) - np.array(cosine)
    told = f"cosine {np.mean(cosine, 0).round(3)}, energy adds {added.round(3).tolist()}"
    assert np.mean(cosine, 0).min() > 0.3, told  # neither hopeless nor solved
    assert np.mean(cosine, 0).max() < 0.85, told
    assert (added.mean(0) >= least).all(), told
    assert (added >= -0.01).all(), told  # nor does one collection lose


def test_vectors_have_the_properties_they_are_named_for():
    def mean_similarity(kind):
        flat = unit(vectors(kind, 384, 0)[0])
        n = len(flat)
        return (n * np.square(flat.mean(0)).sum() - 1) / (n - 1)

    assert abs(mean_similarity(near_zero_mean)) < 0.005
    assert mean_similarity(one_direction) == pytest.approx(0.8, abs=0.02)
    assert 0.5 < mean_similarity(loud_dimensions) < 0.8
    white = np.cov(vectors(whitened, 384, 0)[0].T)
    np.testing.assert_allclose(white / white[0, 0], np.eye(WHITE), atol=0.01)
    length = np.linalg.norm(vectors(unnormalised, 384, 0)[0], axis=1)
    assert 500 < length.max() / length.min() <= 1000
    assert set(np.unique(vectors(signs, 384, 0)[0])) == {-1.0, 1.0}
    assert vectors(truncated, 384, 0)[0].shape == (SUBJECTS * ROWS, 64)
