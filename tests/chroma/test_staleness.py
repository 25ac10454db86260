"""Rows that change without the plugin: found, served from their own vector, caught up."""

import subprocess
import sys
from datetime import timedelta
from functools import partial

import chromadb
import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection, query
from support.chroma_cases import client, create, vectors
from support.chroma_trips import trips

from energy_plugin.energy import EnergyIndex
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.live import LiveField

NEW = vectors(6, seed=5)
ROWS = vectors(150)


@pytest.fixture
def made(tmp_path):
    return create(client(tmp_path), n=150)


@pytest.fixture
def energy(made):
    return EnergyCollection(made).build()


def first(energy, vector, **arguments):
    got = energy.query(query_embeddings=[vector], n_results=1, include=[], **arguments)
    return got["ids"][0]


def both(energy):
    """The object that was open during the change, and one opened after it."""
    return energy, EnergyCollection(energy.collection)


def test_rows_added_by_chroma(made, energy):
    made.add(ids=["a", "b"], embeddings=NEW[:2], metadatas=[{"n": 900}, {"n": 901}])
    for one in both(energy):
        assert first(one, NEW[0]) == ["a"]
        assert first(one, NEW[0], where={"n": {"$gt": 899}}) == ["a"]
        assert first(one, NEW[0], where={"n": 901}) == ["b"]
    assert "energy_lambda" not in made.get(ids=["a"])["metadatas"][0]
    assert energy.refresh() == Changes(added=("a", "b"))
    assert made.get(ids=["a"])["metadatas"][0]["energy_lambda"] > 0
    assert EnergyCollection(made).refresh() == Changes()


def test_rows_deleted_by_chroma(made, energy):
    made.delete(ids=["r3", "r9"])
    for one in both(energy):
        got = one.query(query_embeddings=ROWS[[3, 9]], n_results=150, include=[])["ids"]
        assert all(set(line) == {f"r{i}" for i in range(150)} - {"r3", "r9"} for line in got)
    assert energy.refresh() == Changes(removed=("r3", "r9"))


def test_rows_deleted_by_chroma_never_appear_without_verification(made, energy):
    quick = EnergyCollection(made, watch=False)
    assert first(quick, ROWS[3]) == ["r3"]
    made.delete(ids=["r3"])
    got = quick.query(query_embeddings=ROWS[3:4], n_results=5)["ids"][0]
    assert "r3" not in got
    assert len(got) == 5


@pytest.mark.parametrize("verb", ["update", "upsert"])
def test_vectors_replaced_by_chroma(made, energy, verb):
    getattr(made, verb)(ids=["r3", "r9"], embeddings=NEW[:2])
    for one in both(energy):
        assert first(one, NEW[0]) == ["r3"]
        assert first(one, NEW[1], where={"n": {"$in": [9, 30]}}) == ["r9"]
        assert "r3" not in one.query(query_embeddings=[ROWS[3]], n_results=5)["ids"][0]
    stale = made.get(ids=["r3"])["metadatas"][0]["energy_lambda"]
    fresh = EnergyCollection(made)
    assert fresh.refresh() == Changes(changed=("r3", "r9"))
    lambda_ = made.get(ids=["r3"])["metadatas"][0]["energy_lambda"]
    assert lambda_ != stale
    assert lambda_ == pytest.approx(
        float(fresh._keeper.live.index.field.taumode(NEW[:1])[0][0]), abs=1e-5
    )
    assert EnergyCollection(made).refresh() == Changes()


def test_as_many_added_as_deleted(made, energy):
    made.delete(ids=["r3"])
    made.add(ids=["a"], embeddings=NEW[:1])
    for one in both(energy):
        assert first(one, NEW[0]) == ["a"]
        assert first(one, ROWS[3]) != ["r3"]
    assert energy.refresh() == Changes(added=("a",), removed=("r3",))


def test_all_rows_replaced(made, energy):
    swapped = vectors(150, seed=70)
    made.update(ids=[f"r{i}" for i in range(150)], embeddings=swapped)
    for one in both(energy):
        got = one.query(query_embeddings=swapped, n_results=5, include=[])["ids"]
        # a neighbour may come first by a hair, as the rows were found in another order
        assert [i for i, ids in enumerate(got) if f"r{i}" not in ids] == []
        assert sum(ids[0] == f"r{i}" for i, ids in enumerate(got)) >= 140
    assert len(EnergyCollection(made).refresh().changed) == 150


def test_a_deleted_row_that_comes_back(made, energy):
    made.delete(ids=["r3"])
    assert first(energy, ROWS[3]) != ["r3"]
    made.add(ids=["r3"], embeddings=ROWS[3:4])
    assert first(energy, ROWS[3]) == ["r3"]
    # the plugin deletes, Chroma adds the same id with another vector
    energy.delete(ids=["r9"])
    made.add(ids=["r9"], embeddings=NEW[:1])
    for one in both(energy):
        assert first(one, NEW[0]) == ["r9"]


def test_rows_are_served_from_their_own_vector(made, energy):
    """As good as if the plugin had added them: the same distances to float precision."""
    made.add(ids=["a", "b"], embeddings=NEW[:2])
    index = EnergyIndex.fit(ROWS)
    index.add(NEW[:2])
    expected = index.search(NEW, 4)
    got = energy.query(query_embeddings=NEW, n_results=4, include=["distances"])
    names = [f"r{i}" for i in range(150)] + ["a", "b"]
    assert got["ids"] == [[names[row] for row in line] for line in expected.ids]
    np.testing.assert_allclose(got["distances"], expected.distances, atol=1e-4)


def test_a_row_that_came_back_without_its_columns(made, energy):
    """Same id, same vector: only the row's metadata is to be written again."""
    shown = made.get(ids=["r3"])["metadatas"][0]
    vector = made.get(ids=["r3"], include=["embeddings"])["embeddings"]
    made.delete(ids=["r3"])
    made.add(ids=["r3"], embeddings=vector, metadatas=[{"n": 3, "even": False}])
    energy.refresh()
    assert made.get(ids=["r3"])["metadatas"] == [pytest.approx(shown, abs=1e-6)]


def test_refresh_after_nothing_writes_nothing(made, energy):
    pointer = energy._keeper.store.pointer()
    assert energy.refresh() == Changes()
    assert energy._keeper.store.pointer() == pointer


def test_a_large_collection_is_counted_once_a_while(made, monkeypatch):
    energy = EnergyCollection(made).build()
    clock = [100.0]
    counted = []
    count = LiveField.__len__  # of the rows that the plugin knows
    monkeypatch.setattr(query.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(query, "COUNTED_ALWAYS", 100)
    monkeypatch.setattr(
        "energy_chroma.host.ChromaHost.count",
        lambda _: counted.append(1) or count(energy._keeper.live),
    )
    for _ in range(3):
        energy.query(query_embeddings=NEW[:1])
    assert len(counted) == 1
    made.add(ids=["a"], embeddings=NEW[:1])  # found near the question, without a count
    assert first(energy, NEW[0]) == ["a"]
    assert len(counted) == 1
    clock[0] += 1
    energy.query(query_embeddings=NEW[:1])
    assert len(counted) == 2


def test_more_rows_than_a_page(tmp_path):
    where = client(tmp_path)
    made = create(where, n=5200)
    energy = EnergyCollection(made).build(row_columns=False)
    rows = vectors(5200)
    assert first(energy, rows[5150]) == ["r5150"]
    got = energy.query(query_embeddings=rows[:1], n_results=5200, include=["documents"])
    assert sorted(got["ids"][0]) == sorted(f"r{i}" for i in range(5200))
    made.delete(ids=[f"r{i}" for i in range(0, 5200, 2)])
    assert energy.refresh() == Changes(removed=tuple(f"r{i}" for i in range(0, 5200, 2)))
    assert first(EnergyCollection(made), rows[5151]) == ["r5151"]


def test_another_process_adds_and_deletes(made, tmp_path, caplog):
    """This process does not see the other's vectors until its client is opened again."""
    energy = EnergyCollection(made).build()
    program = """
import sys
import chromadb, numpy
from energy_chroma import EnergyCollection

collection = chromadb.PersistentClient(sys.argv[1]).get_collection("docs")
collection.add(ids=["a"], embeddings=numpy.load(sys.argv[2])[:1])
EnergyCollection(collection).add(ids=["b"], embeddings=numpy.load(sys.argv[2])[1:2])
collection.delete(ids=["r3"])
"""
    np.save(tmp_path / "new.npy", NEW)
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "new.npy")],
        check=True,
        timeout=300,
    )
    got = energy.query(query_embeddings=ROWS[3:4], n_results=5, include=["documents"])
    assert "r3" not in got["ids"][0]
    assert len(got["ids"][0]) == 5
    assert "cannot read them" in caplog.text
    assert energy.refresh() == Changes(removed=("r3",))
    chromadb.api.client.SharedSystemClient.clear_system_cache()
    reopened = EnergyCollection(client(tmp_path).get_collection("docs"))
    assert first(reopened, NEW[0]) == ["a"]
    assert first(reopened, NEW[1]) == ["b"]
    assert first(reopened, ROWS[3]) != ["r3"]
    assert set(reopened.refresh().added) == {"a", "b"}
    assert EnergyCollection(reopened.collection).refresh() == Changes()


def test_changes_in_a_row():
    added, removed, changed = (
        Changes(added=("x",)),
        Changes(removed=("x",)),
        Changes(changed=("x",)),
    )
    assert added | removed == Changes()
    assert added | changed == added
    assert removed | added == changed
    assert changed | changed == changed
    assert changed | removed == removed
    assert not Changes()
    assert len(Changes(("a", "b"), ("c",), ("d",))) == 4
    assert Changes(("a", "b"), ("c",), ("d",)).without(["b", "c"]) == Changes(("a",), (), ("d",))


def test_a_view_may_be_as_old_as_the_interval(made, monkeypatch):
    energy = EnergyCollection(made, read_consistency_interval=timedelta(hours=1)).build()
    assert first(energy, NEW[0]) != ["a"]  # looks for changes
    made.add(ids=["a"], embeddings=NEW[:1])
    made.delete(ids=["r3"])
    assert first(energy, NEW[0]) != ["a"]
    assert "r3" not in energy.query(query_embeddings=ROWS[3:4], n_results=5)["ids"][0]
    energy.add(ids=["b"], embeddings=NEW[1:2])
    assert first(energy, NEW[1]) == ["b"]
    ask = partial(energy.query, query_embeddings=NEW[:1], include=["documents"])
    assert trips(monkeypatch, ask) == [("get", ("documents",))]
    energy._keeper.interval = 0.0
    assert first(energy, NEW[0]) == ["a"]


def test_vectors_of_hits_are_read_once(energy, monkeypatch):
    ask = partial(energy.query, query_embeddings=ROWS[:1], n_results=5, include=["documents"])
    ask()
    assert trips(monkeypatch, ask) == [
        ("count", ()),
        ("query", ("embeddings",)),
        ("get", ("documents",)),
    ]


@pytest.mark.parametrize("interval", [-1, "1 s", float("nan"), True])
def test_an_interval_is_a_time(made, interval):
    with pytest.raises(InvalidInputError, match="read_consistency_interval"):
        EnergyCollection(made, read_consistency_interval=interval)
