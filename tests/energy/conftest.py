from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))


def clustered(n, dim, *, topics=12, spread=0.6, shared=0.5, seed=0):
    """Unit rows around topics, with a direction that all of them share; and their topics."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((topics, dim)) / dim**0.5
    common = shared * rng.standard_normal(dim) / dim**0.5
    topic = rng.integers(0, topics, n)
    rows = common + centres[topic] + spread * rng.standard_normal((n, dim)) / dim**0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), topic


@pytest.fixture(scope="session")
def rows():
    return clustered(600, 48)[0]


@pytest.fixture(scope="session")
def queries():
    return clustered(20, 48, seed=0)[0] + clustered(20, 48, seed=5)[0] * 0.2


@pytest.fixture(scope="session")
def index(rows):
    from energy_plugin.energy import EnergyIndex

    return EnergyIndex.fit(rows, device="cpu")
