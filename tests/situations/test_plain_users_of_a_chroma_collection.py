"""Others write to the collection without the plugin; rows go by conditions and odd ids."""

import chromadb
import numpy as np
import pytest
from energy_chroma import EnergyCollection

VECTORS = np.random.default_rng(3).standard_normal((90, 12)).astype(np.float32)
IDS = [f"ïd/{n} \n'\"日本{'😀' if n % 2 else ''}{'x' * (n % 3) * 2000}" for n in range(80)]


@pytest.fixture
def plain(tmp_path):
    made = chromadb.PersistentClient(str(tmp_path)).create_collection(
        "notes", embedding_function=None
    )
    made.add(
        ids=IDS,
        embeddings=VECTORS[:80],
        documents=[f"note {n} of {'apples' if n % 3 else 'pears'}" for n in range(80)],
        metadatas=[{"n": n} if n % 2 else None for n in range(80)],
    )
    return made


def test_rows_are_deleted_by_conditions(plain):
    energy = EnergyCollection(plain).build(lexical=True)
    for asked in (
        {"ids": IDS[:2]},
        {"where": {"n": {"$lt": 12}}},
        {"where_document": {"$contains": "pears"}},
        {"ids": IDS[40:60], "where": {"n": {"$gt": 50}}, "where_document": {"$contains": "9"}},
    ):
        before = plain.count()
        energy.delete(**asked)
        assert 0 < plain.count() < before
        assert (energy.info().rows, len(energy.info().pending)) == (plain.count(), 0)
        assert energy.verify() == []
    energy.delete(where={"n": {"$gt": 900}})
    assert len(energy.query(query_embeddings=VECTORS[:1], n_results=80)["ids"][0]) == plain.count()


def test_what_others_write_is_pending_at_once(plain):
    energy = EnergyCollection(plain).build()
    plain.delete(ids=[IDS[3]])
    assert energy.info().pending.removed == (IDS[3],)
    plain.add(ids=["new"], embeddings=VECTORS[80:81])
    assert energy.info().pending.added == ("new",)
    energy.refresh()
    assert len(energy.info().pending) == 0
    assert energy.verify() == []
