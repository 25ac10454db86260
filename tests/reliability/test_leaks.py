"""Files and threads after many rounds of opening, asking and letting go."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import chromadb
import lancedb
import numpy as np
import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from energy_chroma import AsyncEnergyCollection, EnergyCollection
from energy_lancedb import AsyncEnergyTable, EnergyTable
from support.chroma_server import Server

from energy_plugin.energy import EnergyField, EnergyIndex

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads Linux's /proc")

FULL, SHORT, WARM = 1000, 60, 12
VECTORS = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
# LanceDB and Chroma start the threads of their pools as calls need them, up to one a core and
# task; a leak of one a round would be far above.
POOLS = 12

rounds = pytest.mark.parametrize("rounds", [SHORT, pytest.param(FULL, marks=pytest.mark.slow)])


def held():
    """Open files, threads of the process and threads of Python."""
    gc.collect()
    tasks = len(os.listdir("/proc/self/task"))
    return np.array([len(os.listdir("/proc/self/fd")), tasks, threading.active_count()])


def grown(once, rounds):
    for _ in range(WARM):
        once()
    before = held()
    for _ in range(rounds):
        once()
    return held() - before


@rounds
def test_the_core(rounds):
    index = EnergyIndex.fit(VECTORS, device="cpu")
    blob, columns = index.field.to_bytes(), index.columns

    def once():
        again = EnergyIndex.from_columns(EnergyField.from_bytes(blob), columns, device="cpu")
        assert again.search(VECTORS[:1], 1).ids[0, 0] == 0

    files, tasks, threads = grown(once, rounds)
    assert files <= 0
    assert max(tasks, threads) <= 0


def lancedb_store(folder):
    rows = [{"id": i, "vector": vector} for i, vector in enumerate(VECTORS)]
    EnergyTable(lancedb.connect(folder).create_table("docs", rows), device="cpu").build()


@rounds
def test_lancedb(tmp_path, rounds):
    lancedb_store(tmp_path)

    def once():
        energy = EnergyTable(lancedb.connect(tmp_path).open_table("docs"), device="cpu")
        assert energy.search(VECTORS[0]).limit(1).to_list()[0]["id"] == 0

    files, tasks, threads = grown(once, rounds)
    assert files <= 2
    assert max(tasks, threads) <= POOLS


@pytest.mark.slow
@rounds
def test_lancedb_asynchronous(tmp_path, rounds):
    lancedb_store(tmp_path)

    async def ask():
        database = await lancedb.connect_async(tmp_path)
        energy = AsyncEnergyTable(await database.open_table("docs"), device="cpu")
        return await energy.search(VECTORS[0]).limit(1).to_list()

    def once():
        assert asyncio.run(ask())[0]["id"] == 0

    files, tasks, threads = grown(once, rounds)
    assert files <= 2
    assert max(tasks, threads) <= POOLS


def filled(client):
    collection = client.create_collection("docs", embedding_function=None)
    collection.add(ids=[str(i) for i in range(60)], embeddings=VECTORS)
    EnergyCollection(collection, device="cpu").build()


@rounds
def test_chroma(tmp_path, rounds):
    """A client is opened anew every tenth time: Chroma keeps one for a folder until then."""
    filled(chromadb.PersistentClient(str(tmp_path)))
    done = 0

    def once():
        nonlocal done
        done += 1
        if done % 10 == 0:
            SharedSystemClient.clear_system_cache()
        client = chromadb.PersistentClient(str(tmp_path))
        energy = EnergyCollection(client.get_collection("docs", embedding_function=None))
        assert energy.query(query_embeddings=VECTORS[:1], n_results=1)["ids"] == [["0"]]

    files, tasks, threads = grown(once, rounds)
    assert files <= 8
    assert tasks <= POOLS
    assert threads <= 2


@pytest.mark.slow
@rounds
def test_chroma_asynchronous(tmp_path, rounds):
    """Its objects have threads of their own, which end with them."""
    with Server(tmp_path) as server:
        filled(chromadb.HttpClient("127.0.0.1", server.port))

        async def ask(count):
            client = await chromadb.AsyncHttpClient("127.0.0.1", server.port)
            for _ in range(count):
                collection = await client.get_collection("docs", embedding_function=None)
                energy = AsyncEnergyCollection(collection, device="cpu")
                got = await energy.query(query_embeddings=VECTORS[:1], n_results=1)
                assert got["ids"] == [["0"]]

        async def measured():
            await ask(WARM)
            before = held()
            await ask(rounds)
            return held() - before

        files, tasks, threads = asyncio.run(measured())
        assert files <= 8
        assert max(tasks, threads) <= POOLS
