"""The same code against a Chroma server, with a second client that writes."""

import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection
from support.chroma_cases import create, vectors
from support.chroma_server import Server

from energy_plugin.errors import NotBuiltError

QUERIES = vectors(4, seed=1)


@pytest.fixture
def connect(tmp_path):
    """A function that opens a new client of a running server."""
    with Server(tmp_path) as server:
        yield server.client


def test_a_server(connect):
    made = create(connect(), n=200)
    energy = EnergyCollection(made).build()
    energy.add(ids=["a"], embeddings=QUERIES[:1], metadatas=[{"n": -1}])
    asked = {"query_embeddings": QUERIES, "n_results": 5}
    found = energy.query(**asked)
    assert found["ids"][0][0] == "a"
    assert set(found["metadatas"][0][0]) == {
        "n",
        "energy_lambda",
        "energy_dispersion",
        "energy_cell",
    }
    reopened = EnergyCollection(connect().get_collection("docs")).query(**asked)
    np.testing.assert_allclose(reopened.pop("distances"), found.pop("distances"), atol=1e-5)
    assert reopened == found

    other = connect().get_collection("docs")
    other.delete(ids=["a"])
    other.upsert(ids=["r5"], embeddings=QUERIES[1:2])
    other.add(ids=["b"], embeddings=QUERIES[2:3])
    got = energy.query(query_embeddings=QUERIES, n_results=1)["ids"]
    assert got[0] != ["a"]
    assert got[1:3] == [["r5"], ["b"]]
    assert energy.refresh() == Changes(added=("b",), removed=("a",), changed=("r5",))
    assert EnergyCollection(other).refresh() == Changes()

    EnergyCollection(other).drop()
    assert [one.name for one in connect().list_collections()] == ["docs"]
    with pytest.raises(NotBuiltError):
        energy.query(**asked)
