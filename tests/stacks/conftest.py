"""Real stores, built once a module."""

import pytest
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from support import stack_data


@pytest.fixture(scope="module")
def chroma_store(tmp_path_factory):
    """A client and a built collection."""
    client, made = stack_data.chroma(tmp_path_factory.mktemp("chroma"))
    return client, EnergyCollection(made).build()


@pytest.fixture(scope="module")
def lance_store(tmp_path_factory):
    """A built table."""
    return EnergyTable(stack_data.lance(tmp_path_factory.mktemp("lance"))).build()


@pytest.fixture
def calls():
    return stack_data.Calls()
