"""Real faults: killed processes, two that write, a server that goes away and comes back."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.errors import ChromaError
from energy_chroma import Changes, EnergyCollection
from support.chroma_cases import client, create, vectors
from support.chroma_server import Server

from energy_plugin.errors import NotBuiltError

QUERIES = vectors(4, seed=1)
WAIT_SECONDS = 120

# Announces each moment of a write but single changes, and waits for a byte before it goes on.
STEPS = """
import sys
import chromadb
from support.chroma_cases import vectors
from energy_chroma import EnergyCollection
from energy_plugin.energy import EnergyConfig
from energy_plugin.stored.moments import Moment, watching

def announce(moment):
    if moment is not Moment.WRITING:
        print(moment.name, flush=True)
        sys.stdin.read(1)

energy = EnergyCollection(chromadb.PersistentClient(sys.argv[1]).get_collection("docs"))
energy.count()
with watching(announce):
    if sys.argv[2] == "build":
        energy.build(EnergyConfig(bits=8))
    else:
        energy.add(ids=["killed"], embeddings=vectors(1, seed=5), metadatas=[{"n": 7}])
print("done", flush=True)
"""
WRITER = """
import sys
import chromadb
from support.chroma_cases import vectors
from energy_chroma import EnergyCollection

where = chromadb.HttpClient("127.0.0.1", int(sys.argv[1]))
energy = EnergyCollection(where.get_collection("docs"))
print("ready", flush=True)
sys.stdin.read(1)
for step in range(8):
    name = f"{sys.argv[2]}{step}"
    energy.add(ids=[name], embeddings=vectors(1, seed=100 * int(sys.argv[3]) + step))
print("done", flush=True)
"""


@pytest.fixture
def started():
    """Starts Python programs that see the tests' helpers, and ends them."""
    processes = []

    def start(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_HERE, *sys.path])},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(timeout=WAIT_SECONDS)


_HERE = str(Path(__file__).parents[1])


def killed_at(process, moment):
    """Let a program go on until a moment of its write, and kill it there."""
    for line in process.stdout:
        if line.strip() == moment:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=WAIT_SECONDS)
            return
        assert line != "done\n", f"it was never at {moment}"
        process.stdin.write(".")
        process.stdin.flush()
    raise AssertionError("the program ended by itself")


def opened(folder):
    """The collection as a new process sees it."""
    SharedSystemClient.clear_system_cache()
    return client(folder).get_collection("docs")


def answer(energy):
    got = energy.query(query_embeddings=QUERIES, n_results=6, include=["distances"])
    return got["ids"], np.asarray(got["distances"])


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "moment", [pytest.param("FIELD_WRITTEN", marks=slow), "COLUMNS_WRITTEN", "FLIPPED"]
)
def test_killed_in_a_build(tmp_path, started, moment):
    """A field is there before; killed after each of its two parts, and after the flip."""
    energy = EnergyCollection(create(client(tmp_path), n=120)).build()
    ids, distances = answer(energy)
    killed_at(started(STEPS, tmp_path, "build"), moment)
    made = opened(tmp_path)
    energy = EnergyCollection(made)
    found = answer(energy)
    if moment == "FLIPPED":  # the new field of 8 bits
        assert energy.info().bits == 8
    else:
        assert found[0] == ids
        np.testing.assert_allclose(found[1], distances, atol=1e-6)
    energy.repair()
    assert energy.verify() == []
    assert energy.count() == 120


@slow
def test_killed_in_the_first_build(tmp_path, started):
    create(client(tmp_path), n=60)
    killed_at(started(STEPS, tmp_path, "build"), "COLUMNS_WRITTEN")
    made = opened(tmp_path)
    assert "energy_cell" not in made.get(ids=["r1"])["metadatas"][0]
    with pytest.raises(NotBuiltError):
        answer(EnergyCollection(made))
    energy = EnergyCollection(made).build()
    assert energy.verify() == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("ROWS_WRITTEN", marks=slow),
        "COLUMNS_WRITTEN",
        pytest.param("FLIPPED", marks=slow),
    ],
)
def test_killed_in_an_add(tmp_path, started, moment):
    """The row is in Chroma by then; its columns are not, or not yet named by the pointer."""
    EnergyCollection(create(client(tmp_path), n=60)).build()
    killed_at(started(STEPS, tmp_path, "add"), moment)
    energy = EnergyCollection(opened(tmp_path))
    got = energy.query(query_embeddings=vectors(1, seed=5), n_results=1)
    assert got["ids"] == [["killed"]]
    assert got["metadatas"][0][0]["n"] == 7
    expected = Changes() if moment == "FLIPPED" else Changes(added=("killed",))
    assert energy.refresh() == expected
    assert EnergyCollection(energy.collection).verify() == []


def test_two_processes_write_through_a_server(tmp_path, started):
    """No row is lost; columns that one overwrote are found, served and caught up."""
    with Server(tmp_path) as server:
        made = create(server.client(), n=100)
        energy = EnergyCollection(made).build()
        writers = [started(WRITER, server.port, name, seed) for name, seed in (("a", 1), ("b", 2))]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write(".")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout.readline() == "done\n"
        names = [f"{name}{step}" for name in "ab" for step in range(8)]
        rows = np.concatenate(
            [vectors(1, seed=100 * seed + step) for seed in (1, 2) for step in range(8)]
        )
        for one in (energy, EnergyCollection(server.client().get_collection("docs"))):
            got = one.query(query_embeddings=rows, n_results=1, include=[])
            assert got["ids"] == [[name] for name in names]
        energy.repair()
        assert energy.verify() == []
        assert energy.count() == 116


@slow
def test_two_processes_write_to_one_folder(tmp_path, started):
    """Not what Chroma is made for; nothing is lost all the same."""
    EnergyCollection(create(client(tmp_path), n=60)).build()
    SharedSystemClient.clear_system_cache()
    program = WRITER.replace(
        'chromadb.HttpClient("127.0.0.1", int(sys.argv[1]))',
        "chromadb.PersistentClient(sys.argv[1])",
    )
    writers = [started(program, tmp_path, name, seed) for name, seed in (("a", 1), ("b", 2))]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # one after the other, each with the other's rows unseen
        writer.stdin.write(".")
        writer.stdin.flush()
        assert writer.stdout.readline() == "done\n"
        writer.wait(timeout=WAIT_SECONDS)
    energy = EnergyCollection(opened(tmp_path))
    rows = np.concatenate(
        [vectors(1, seed=100 * seed + step) for seed in (1, 2) for step in range(8)]
    )
    got = energy.query(query_embeddings=rows, n_results=1, include=[])
    assert got["ids"] == [[f"{name}{step}"] for name in "ab" for step in range(8)]
    energy.repair()
    assert energy.verify() == []


def test_a_server_that_goes_away_in_a_query_and_comes_back(tmp_path):
    with Server(tmp_path) as server:
        energy = EnergyCollection(create(server.client(), n=200)).build()
        expected = answer(energy)
        errors, answers, stop = [], [], threading.Event()

        def ask():
            while not stop.is_set():
                try:
                    answers.append(answer(energy))
                except (httpx.HTTPError, ChromaError, ValueError) as error:
                    errors.append(error)
                    time.sleep(0.02)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            until(lambda: len(answers) > 3)
            server.kill()
            until(lambda: len(errors) > 3)
            server.start()
            before = len(answers)
            until(lambda: len(answers) > before + 3)
        finally:
            stop.set()
            asking.join(timeout=WAIT_SECONDS)
        # every answer is a whole one, before and after
        for ids, distances in answers:
            assert ids == expected[0]
            np.testing.assert_allclose(distances, expected[1], atol=1e-5)
        assert energy.refresh() == Changes()
        assert EnergyCollection(server.client().get_collection("docs")).verify() == []


def test_a_server_that_goes_away_in_a_write(tmp_path):
    """What the plugin holds in memory stays what Chroma holds."""
    with Server(tmp_path) as server:
        energy = EnergyCollection(create(server.client(), n=80)).build()
        expected = answer(energy)
        server.kill()
        with pytest.raises(httpx.HTTPError):
            energy.add(ids=["lost"], embeddings=vectors(1, seed=5))
        with pytest.raises(httpx.HTTPError):
            energy.build()
        server.start()
        assert answer(energy)[0] == expected[0]
        energy.add(ids=["kept"], embeddings=vectors(1, seed=5))
        assert energy.query(query_embeddings=vectors(1, seed=5), n_results=1)["ids"] == [["kept"]]
        assert energy.verify() == []


def until(true):
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
