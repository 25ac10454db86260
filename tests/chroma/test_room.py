"""Whether storage would take another write, asked only after it refused one."""

import os
import subprocess
import sys

import chromadb
import numpy as np
import pytest
from chromadb.errors import InternalError
from energy_chroma import EnergyCollection
from energy_chroma.room import ROOM_BYTES, refused

from energy_plugin.errors import HostWriteError

VECTORS = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)

LIMITED = """
import resource, sys
from energy_chroma.room import refused
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
print(refused(sys.argv[1]))
"""


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "chroma.sqlite3"
    made.write_bytes(b"x" * 1000)
    return made


def test_there_is_room(file):
    assert refused(str(file)) is None
    assert os.listdir(file.parent) == [file.name]


def test_a_file_or_folder_that_is_gone(file):
    file.unlink()
    assert "No such file" in refused(str(file))


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize(("spare", "said"), [(-1, "may not grow beyond"), (4096, "None")])
def test_a_limit_on_the_size_of_files(file, spare, said):
    limit = 1000 + ROOM_BYTES + spare
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(file), str(limit)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said in run.stdout


def test_after_a_refused_write_nothing_is_asked_of_a_database_without_room(tmp_path, monkeypatch):
    collection = chromadb.PersistentClient(str(tmp_path)).create_collection(
        "docs", embedding_function=None
    )
    collection.add(ids=[f"r{i}" for i in range(40)], embeddings=VECTORS)
    energy = EnergyCollection(collection, device="cpu").build()
    host = energy._keeper.host
    host.patience.failed = True
    monkeypatch.setattr("energy_chroma.room.refused", lambda file: "the disk is full")
    for change in (
        lambda: energy.add(ids=["new"], embeddings=VECTORS[:1]),
        lambda: energy.delete(ids=["r1"]),
        energy.refit,
    ):
        with pytest.raises(HostWriteError, match=r"refuse another \(the disk is full\).*Free disk"):
            change()
    assert collection.count() == 40
    monkeypatch.undo()
    energy.add(ids=["new"], embeddings=VECTORS[:1])
    assert energy.verify() == []


def test_an_error_of_storage_is_remembered(tmp_path):
    collection = chromadb.PersistentClient(str(tmp_path)).create_collection(
        "docs", embedding_function=None
    )
    patience = EnergyCollection(collection)._keeper.host.patience

    def full():
        raise InternalError("database or disk is full")

    with pytest.raises(InternalError):
        patience.call(full)
    assert patience.failed
    assert patience.call(collection.count) == 0
