"""A disk that is full: a clear error, the old field answers, and nothing is left half-written.

On a small disk of its own where mounting is permitted, for both hosts; Chroma also with a limit
on the size of files, which needs no permission. LanceDB with such a limit:
`tests/lancedb/test_faults.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import chromadb
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from support.processes import bound_by_permissions

from energy_plugin.energy import EnergyConfig

ROWS, DIM = 2_000, 64
DISK = 24_000_000
ROOM = 60_000  # bytes that the filler leaves


def vectors(rows, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((8, DIM))
    some = centres[rng.integers(0, 8, rows)] + 0.6 * rng.standard_normal((rows, DIM))
    return some.astype(np.float32)


QUERY = vectors(1, seed=5)[0]


def in_lancedb(folder):
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors(ROWS).ravel()), DIM)
    data = pa.table({"id": [f"r{i}" for i in range(ROWS)], "vector": column})
    table = lancedb.connect(folder).create_table("docs", data)
    return EnergyTable(table, device="cpu")


def in_chroma(folder):
    collection = chromadb.PersistentClient(str(folder)).create_collection(
        "docs", embedding_function=None
    )
    collection.add(ids=[f"r{i}" for i in range(ROWS)], embeddings=vectors(ROWS))
    return EnergyCollection(collection, device="cpu")


def again(kind, folder):
    if kind is in_lancedb:
        return EnergyTable(lancedb.connect(folder).open_table("docs"), device="cpu")
    SharedSystemClient.clear_system_cache()
    client = chromadb.PersistentClient(str(folder))
    return EnergyCollection(client.get_collection("docs", embedding_function=None), device="cpu")


def answer(energy):
    if isinstance(energy, EnergyTable):
        return [row["id"] for row in energy.search(QUERY).limit(10).to_list()]
    return energy.query(query_embeddings=[QUERY], n_results=10)["ids"][0]


@pytest.mark.parametrize("kind", [in_lancedb, in_chroma])
def test_a_disk_without_room(small_disk, kind):
    folder = small_disk(DISK)
    energy = kind(folder / "store").build(EnergyConfig(bits=4))
    before, generation = answer(energy), energy.info().generation
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    filler = folder / "filler"
    with filler.open("wb") as file:
        file.write(bytes(free - ROOM))
    for change in (lambda: energy.build(EnergyConfig(bits=8)), energy.refit):
        with pytest.raises(
            Exception, match=r"(?i)no space|disk is full|disk full|free disk space|os error 28"
        ):
            change()
        if kind is in_lancedb:  # Chroma writes its log into its index in reads, and cannot now
            assert answer(energy) == before
            assert answer(again(kind, folder / "store")) == before
    filler.unlink()
    assert answer(energy) == before
    reopened = again(kind, folder / "store")
    assert answer(reopened) == before
    assert reopened.info().generation == generation
    assert reopened.info().rows == ROWS
    reopened.repair()
    assert reopened.verify() == []
    assert reopened.build(EnergyConfig(bits=8)).verify() == []
    SharedSystemClient.clear_system_cache()


CHILD = f"""
import os, resource, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from test_full_disk import again, answer, in_chroma, vectors
from energy_plugin.energy import EnergyConfig

energy = again(in_chroma, sys.argv[1])
before = answer(energy)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(os.path.join(sys.argv[1], "chroma.sqlite3")) + 4096
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
calls = (
    lambda: energy.build(EnergyConfig(bits=8)),
    energy.refit,
    lambda: energy.add(ids=[f"n{{i}}" for i in range(2000)], embeddings=vectors(2000, seed=3)),
)
for call in calls:
    try:
        call()
    except Exception as error:
        sys.stdout.write(f"{{type(error).__name__}}\\n")
sys.stdout.write(f"{{answer(energy) == before}}\\n")
sys.stdout.flush()
os._exit(0)  # threads of a stuck database would keep the process
"""


def test_chroma_with_files_that_may_not_grow(tmp_path):
    energy = in_chroma(tmp_path).build()
    before = answer(energy)
    SharedSystemClient.clear_system_cache()
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [*["HostWriteError"] * 3, "True"]
    reopened = again(in_chroma, tmp_path)
    assert answer(reopened) == before
    assert reopened.info().rows == ROWS
    reopened.repair()
    assert reopened.verify() == []
    assert reopened.build(EnergyConfig(bits=8)).verify() == []


def test_chroma_in_a_folder_that_cannot_be_written(tmp_path):
    """Chroma opens no such folder: it loses the right to write while it is open."""
    energy = in_chroma(tmp_path).build()
    before = answer(energy)
    SharedSystemClient.clear_system_cache()
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
from test_full_disk import again, answer, in_chroma
energy = again(in_chroma, sys.argv[1])
before = answer(energy)
for path in (Path(sys.argv[1]), *Path(sys.argv[1]).rglob("*")):
    path.chmod(0o555 if path.is_dir() else 0o444)
for call in (energy.build, energy.refit, lambda: energy.delete(ids=["r1"])):
    try:
        call()
    except Exception as error:
        sys.stdout.write(f"{{type(error).__name__}}\\n")
sys.stdout.write(f"{{answer(energy) == before}}\\n")
"""
    command = [*bound_by_permissions(), code, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert run.returncode == 0, run.stderr
    *errors, same = run.stdout.split()
    assert (len(errors), same) == (3, "True"), run.stdout
    reopened = again(in_chroma, tmp_path)
    assert answer(reopened) == before
    assert reopened.verify() == []
