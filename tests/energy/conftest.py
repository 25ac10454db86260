from __future__ import annotations

import pytest
from support.energy_data import clustered


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
