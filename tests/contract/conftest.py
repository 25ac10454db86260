"""One room for each host."""

import chromadb
import pytest
from support.chroma_server import Server
from support.rooms import ChromaRoom, ChromaServerRoom, LanceBesideRoom, LanceRoom, N, SqliteRoom

ROOMS = {
    "lancedb": LanceRoom,
    "lancedb beside": LanceBesideRoom,
    "chroma": ChromaRoom,
    "sqlite": SqliteRoom,
}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture(params=[*ROOMS, "chroma server"])
def room(request, tmp_path):
    """A host with N rows and no field."""
    if request.param == "chroma server":
        made = ChromaServerRoom(request.getfixturevalue("server"))
    else:
        made = ROOMS[request.param](tmp_path)
    made.add_behind(range(N))
    yield made
    if request.param == "chroma server":
        client = made.client()
        for one in client.list_collections():
            client.delete_collection(one.name)
    elif request.param == "chroma":
        chromadb.api.client.SharedSystemClient.clear_system_cache()


@pytest.fixture
def built(room):
    """The room, and an object whose field is built."""
    energy = room.open()
    room.build(energy)
    return room, energy
