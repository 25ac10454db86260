"""In both hosts a filter is post-filtering, and a store that is opened again answers to the bit."""

from __future__ import annotations

import chromadb
import lancedb
import numpy as np
import pytest
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from hypothesis import given, settings
from hypothesis import strategies as st
from support.energy_data import clustered

from energy_plugin.energy import EnergyConfig

N, DIM = 150, 12
ROWS, QUERIES = clustered(N, DIM)[0], clustered(3, DIM, seed=4)[0]
# base distances alone: with the query's graph, rows that a filter leaves out would be in it
CONFIG = EnergyConfig(bits=8, local_heat=0.0, query_heat=0.0)
CLOSE = 2e-4
several = settings(max_examples=10, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    data = [{"id": i, "kind": i % 7, "vector": row} for i, row in enumerate(ROWS)]
    made = lancedb.connect(tmp_path_factory.mktemp("lance")).create_table("pages", data)
    EnergyTable(made).build(CONFIG)
    return made


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    made = chromadb.PersistentClient(str(tmp_path_factory.mktemp("chroma"))).create_collection(
        "docs", embedding_function=None
    )
    made.add(
        ids=[str(i) for i in range(N)],
        embeddings=ROWS,
        metadatas=[{"n": i, "kind": i % 7} for i in range(N)],
    )
    EnergyCollection(made).build(CONFIG)
    return made


def asked_of_lancedb(table, low, kinds, k, query):
    search = EnergyTable(table).search(query)
    if low is not None:
        search = search.where(f"id >= {low} AND kind IN ({', '.join(map(str, kinds))})")
    found = search.select(["id"]).limit(k).to_arrow()
    return found["id"].to_pylist(), found["_distance"].to_numpy()


def asked_of_chroma(collection, low, kinds, k, query):
    where = None if low is None else {"$and": [{"n": {"$gte": low}}, {"kind": {"$in": kinds}}]}
    found = EnergyCollection(collection).query(
        query_embeddings=[query], n_results=k, where=where, include=["distances"]
    )
    return [int(name) for name in found["ids"][0]], np.array(found["distances"][0])


@several
@given(
    st.sampled_from(["lancedb", "chroma"]),
    st.integers(0, N + 2),
    st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True),
    st.integers(1, 40),
)
def test_a_filter_is_post_filtering(table, collection, host, low, kinds, k):
    ask, store = (asked_of_lancedb, table) if host == "lancedb" else (asked_of_chroma, collection)
    for query in QUERIES:
        ids, distances = ask(store, None, None, N, query)
        kept = [i for i, row in enumerate(ids) if row >= low and row % 7 in kinds]
        got, near = ask(store, low, kinds, k, query)
        assert len(got) == min(k, len(kept))
        np.testing.assert_allclose(near, distances[kept][:k], atol=CLOSE)
        place = dict(zip(ids, distances.tolist(), strict=True))
        np.testing.assert_allclose([place[row] for row in got], near, atol=2 * CLOSE)


def test_opened_again_to_the_bit(table, collection):
    first, again = EnergyTable(table)._live.snapshot(), EnergyTable(table)._live.snapshot()
    assert first.field.to_bytes() == again.field.to_bytes()
    for name in ("lambda_", "dispersion", "cell", "residual"):
        one, other = getattr(first.index.columns, name), getattr(again.index.columns, name)
        assert one.tobytes() == other.tobytes()
    for ask, store in ((asked_of_lancedb, table), (asked_of_chroma, collection)):
        for query in QUERIES:
            (ids, near), (others, far) = (ask(store, None, None, 20, query) for _ in range(2))
            assert ids == others
            assert near.tobytes() == far.tobytes()
    assert (
        EnergyCollection(collection).field.fingerprint
        == EnergyCollection(collection).field.fingerprint
    )
