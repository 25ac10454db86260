"""Real stores, built once."""

import pytest
import stack_data
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable


@pytest.fixture(scope="session")
def chroma_store(tmp_path_factory):
    """A client and a built collection."""
    client, made = stack_data.chroma(tmp_path_factory.mktemp("chroma"))
    return client, EnergyCollection(made).build()


@pytest.fixture(scope="session")
def lance_store(tmp_path_factory):
    """A built table."""
    return EnergyTable(stack_data.lance(tmp_path_factory.mktemp("lance"))).build()


@pytest.fixture
def calls():
    return stack_data.Calls()
