"""The asynchronous client: the same answers as the synchronous one, and a free event loop."""

import asyncio
import inspect
import threading
import time

import numpy as np
import pytest
from energy_chroma import (
    AsyncEnergyCollection,
    AsyncEnergyReranker,
    Changes,
    EnergyCollection,
    EnergyReranker,
)
from support.chroma_cases import GramEmbedding, client, create, texts, vectors
from support.chroma_server import Server

from energy_plugin.errors import InvalidInputError, NotBuiltError

QUERIES = vectors(4, seed=1)
NEW = vectors(40, seed=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


async def opened(server, name, **arguments):
    return await (await server.async_client()).get_collection(name, **arguments)


def test_it_answers_as_the_synchronous_one(server):
    made = create(server.client(), n=200, name="same")

    async def work():
        energy = AsyncEnergyCollection(await opened(server, "same"))
        with pytest.raises(NotBuiltError):
            await energy.query(query_embeddings=QUERIES)
        assert await energy.build() is energy
        await energy.add(ids=["a"], embeddings=NEW[:1], metadatas=[{"n": -1}])
        await energy.upsert(ids=["r1"], embeddings=NEW[1:2])
        await energy.update(ids=["r2"], embeddings=NEW[2:3])
        await energy.delete(ids=["r3"])
        assert await energy.count() == await energy.collection.count() == 200
        assert (await energy.get(ids=["a"]))["metadatas"][0]["n"] == -1
        assert (await energy.peek(2))["ids"] == ["r0", "r1"]
        found = await energy.query(query_embeddings=NEW[:3], n_results=5, where={"n": {"$lt": 90}})
        # rows that another client changes
        made.delete(ids=["a"])
        made.add(ids=["b"], embeddings=NEW[3:4])
        got = await energy.query(query_embeddings=NEW[3:4], n_results=1)
        assert got["ids"] == [["b"]]
        assert set((await energy.refresh()).removed) == {"a"}
        return found

    found = asyncio.run(work())
    assert [line[0] for line in found["ids"]] == ["a", "r1", "r2"]
    energy = EnergyCollection(made)
    asyncio.run(restore(server, NEW[:1]))
    same = energy.query(query_embeddings=NEW[:3], n_results=5, where={"n": {"$lt": 90}})
    for numbers in ("distances", "relevance"):
        np.testing.assert_allclose(same.pop(numbers), found.pop(numbers), atol=1e-5)
    assert same == found


async def restore(server, vector):
    """In another event loop than the one that built."""
    energy = AsyncEnergyCollection(await opened(server, "same"))
    await energy.delete(ids=["b"])
    await energy.add(ids=["a"], embeddings=vector, metadatas=[{"n": -1}])
    assert await energy.refresh() == Changes()


def test_tasks_share_one_object(server):
    create(server.client(), n=80, name="tasks")

    async def work():
        energy = await AsyncEnergyCollection(await opened(server, "tasks")).build()
        # more tasks than threads, each holding the field's lock while it waits for the server
        await asyncio.gather(
            *(
                energy.add(ids=[f"t{number}"], embeddings=NEW[number : number + 1])
                for number in range(20)
            )
        )
        answers = await asyncio.gather(
            *(energy.query(query_embeddings=NEW[i : i + 1], n_results=1) for i in range(20))
        )
        assert [answer["ids"][0] for answer in answers] == [[f"t{i}"] for i in range(20)]
        assert await energy.refresh() == Changes()

    asyncio.run(work())


class SlowEmbedding(GramEmbedding):
    """Embeds as a large model does: for a while."""

    def __call__(self, input):
        time.sleep(1.5)
        return super().__call__(input)


def test_the_event_loop_is_free_while_texts_are_embedded(server):
    documents = texts(60)

    async def work():
        host = await server.async_client()
        made = await host.create_collection("slow", embedding_function=SlowEmbedding())
        await made.add(
            ids=[f"t{i}" for i in range(60)],
            documents=documents,
            embeddings=GramEmbedding()(documents),
        )
        energy = await AsyncEnergyCollection(made).build()
        gaps, asked = [], asyncio.create_task(energy.query(query_texts=[documents[7]]))
        while not asked.done():
            start = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - start)
        assert (await asked)["documents"][0][0] == documents[7]
        assert len(gaps) > 5
        return sorted(gaps)[len(gaps) // 2]

    # the loop would have stood still for all that time
    assert asyncio.run(work()) < 0.5


class HeldEmbedding(GramEmbedding):
    """Says that it was asked, and waits until it may answer."""

    asked, free = threading.Event(), threading.Event()

    def __call__(self, input):
        self.asked.set()
        assert self.free.wait(60)
        return super().__call__(input)


def test_a_cancelled_write_that_has_begun_is_finished(server):
    documents = texts(61)

    async def work():
        host = await server.async_client()
        made = await host.create_collection("held", embedding_function=HeldEmbedding())
        await made.add(ids=[f"t{i}" for i in range(60)], embeddings=GramEmbedding()(documents[:60]))
        energy = await AsyncEnergyCollection(made).build()
        writing = asyncio.create_task(energy.add(ids=["new"], documents=documents[60:]))
        while not HeldEmbedding.asked.is_set():
            await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        HeldEmbedding.free.set()
        while await energy.count() == 60:
            await asyncio.sleep(0.01)
        assert await energy.refresh() == Changes()
        vector = GramEmbedding()(documents[60:])
        assert (await energy.query(query_embeddings=vector, n_results=1))["ids"] == [["new"]]

    asyncio.run(asyncio.wait_for(work(), 120))


def test_an_event_loop_that_ends_leaves_no_thread_waiting(server):
    create(server.client(), n=60, name="ended")

    async def abandon():
        energy = await AsyncEnergyCollection(await opened(server, "ended")).build()
        held.append(energy)
        held.append(asyncio.create_task(energy.build()))
        await asyncio.sleep(0.01)

    held = []
    start = time.monotonic()
    asyncio.run(abandon())
    held[0]._worker._threads.shutdown(wait=True)
    assert time.monotonic() - start < 60

    async def again():
        energy = AsyncEnergyCollection(await opened(server, "ended"))
        return await energy.query(query_embeddings=vectors(60)[7:8], n_results=1)

    assert asyncio.run(again())["ids"] == [["r7"]]


def test_reranking_and_upkeep_are_awaited(server):
    documents = texts(60)
    made = server.client().create_collection("upkeep", embedding_function=GramEmbedding())
    made.add(ids=[f"t{i}" for i in range(60)], documents=documents)

    async def work():
        energy = await AsyncEnergyCollection(await opened(server, "upkeep")).build()
        found = await energy.collection.query(query_texts=documents[:2], n_results=20)
        expected = EnergyReranker(made).rerank(found, documents[:2])
        for one in (energy, energy.collection):
            got = await AsyncEnergyReranker(one).rerank(found, documents[:2])
            assert got["ids"] == expected["ids"]
        assert (await energy.maintain()).after.distortion > 0
        assert await energy.refit() is energy
        assert await energy.verify() == []
        await energy.modify(metadata={"owner": "someone"})
        former = energy.collection.id
        assert await energy.reembed(GramEmbedding(2)) is energy
        assert energy.collection.id != former
        assert await energy.collection.count() == 60
        assert (await energy.info()).generation == 1
        return await energy.query(query_texts=documents[:2], n_results=1)

    found = asyncio.run(work())
    assert [line[0] for line in found["documents"]] == documents[:2]
    assert server.client().get_collection("upkeep").metadata == {"owner": "someone"}


def test_signatures_and_documentation_are_those_of_the_synchronous_class():
    for name, method in inspect.getmembers(EnergyCollection, inspect.isfunction):
        if name.startswith("_"):
            continue
        other = getattr(AsyncEnergyCollection, name)
        assert inspect.iscoroutinefunction(other), name
        assert inspect.signature(other) == inspect.signature(method), name
        assert other.__doc__ == method.__doc__, name


def test_each_class_refuses_the_others_collections(server, tmp_path):
    made = create(client(tmp_path), n=2)
    with pytest.raises(InvalidInputError, match="use EnergyCollection"):
        AsyncEnergyCollection(made)
    create(server.client(), n=2, name="kind")
    with pytest.raises(InvalidInputError, match="AsyncEnergyCollection"):
        EnergyCollection(asyncio.run(opened(server, "kind")))
