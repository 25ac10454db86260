"""Made-up collections for the tests of the energy field."""

from __future__ import annotations

import numpy as np


def clustered(n, dim, *, topics=12, spread=0.6, shared=0.5, seed=0):
    """Unit rows around topics, with a direction that all of them share; and their topics."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((topics, dim)) / dim**0.5
    common = shared * rng.standard_normal(dim) / dim**0.5
    topic = rng.integers(0, topics, n)
    rows = common + centres[topic] + spread * rng.standard_normal((n, dim)) / dim**0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), topic


def exact_top(rows, queries, k):
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]


def overlap(a, b):
    """Mean share of common ids a row."""
    return np.mean([len(set(x) & set(y)) / len(x) for x, y in zip(a, b, strict=True)])


def same(a, b):
    assert np.array_equal(a.ids, b.ids)
    assert np.array_equal(a.distances, b.distances)
