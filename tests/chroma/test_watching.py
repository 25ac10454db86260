"""An embedded database whose files have not changed is not looked through again."""

import os
import time

import chromadb
import numpy as np
import pytest
from energy_chroma import EnergyCollection, survey, watching
from support.chroma_cases import client, create, vectors
from support.chroma_trips import trips

NEW = vectors(6, seed=5)
ROWS = vectors(150)


@pytest.fixture
def made(tmp_path):
    return create(client(tmp_path), n=150)


@pytest.fixture
def energy(made):
    return EnergyCollection(made).build()


def settle(energy):
    """Wait until the time of the last change says that nothing came after it."""
    host = energy._keeper.host
    deadline = time.monotonic() + 30
    while host.state() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return host.state()


def surveyed(energy):
    """Ask until every row has been compared."""
    settle(energy)
    deadline = time.monotonic() + 60
    while energy._keeper.watching.whole != energy._keeper.host.state():
        energy.query(query_embeddings=NEW[:1], n_results=2)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def first(energy, vector, **arguments):
    return energy.query(query_embeddings=[vector], n_results=1, include=[], **arguments)["ids"][0]


def test_pointer_and_count_are_read_once_a_state(energy, monkeypatch):
    settle(energy)

    def ask():
        return energy.query(query_embeddings=ROWS[:1], n_results=5, include=["documents"])

    expected = [("count", ()), ("query", ("embeddings",)), ("get", ("documents",))]
    assert trips(monkeypatch, ask) == expected
    read = []
    monkeypatch.setattr(energy._keeper.store, "pointer", lambda: read.append(1))
    assert trips(monkeypatch, ask) == expected[1:]
    assert not read


def test_rows_that_were_all_compared_need_no_further_look(energy, monkeypatch):
    surveyed(energy)

    def ask(include):
        return lambda: energy.query(query_embeddings=ROWS[:1], n_results=5, include=include)

    assert trips(monkeypatch, ask(["distances"])) == []
    assert trips(monkeypatch, ask(["documents"])) == [("get", ("documents",))]
    assert energy.query(query_embeddings=ROWS[:1], n_results=1)["documents"] == [
        ["document 0 even"]
    ]


@pytest.mark.parametrize("verb", ["add", "delete", "update", "upsert"])
def test_what_is_written_afterwards_is_seen_at_once(made, energy, verb):
    surveyed(energy)
    if verb == "delete":
        made.delete(ids=["r3"])
        assert first(energy, ROWS[3]) != ["r3"]
        return
    name = "a" if verb == "add" else "r9"
    getattr(made, verb)(ids=[name], embeddings=NEW[:1])
    assert first(energy, NEW[0]) == [name]


def test_a_survey_finds_what_queries_have_not_met(made, energy):
    settle(energy)
    made.update(ids=["r3"], embeddings=NEW[1:2])
    made.delete(ids=["r7"])
    made.add(ids=["b"], embeddings=-NEW[1:2])
    far = ROWS[100]
    energy.query(query_embeddings=[far], n_results=1)
    surveyed(energy)
    assert first(energy, NEW[1]) == ["r3"]
    assert first(energy, -NEW[1]) == ["b"]
    assert first(energy, ROWS[7]) != ["r7"]


def test_another_field_is_noticed(made, energy):
    surveyed(energy)
    before = energy._keeper.live
    EnergyCollection(made).build()
    energy.query(query_embeddings=NEW[:1])
    assert energy._keeper.live is not before
    assert energy._keeper.watching.whole is None


def test_a_survey_ends_when_something_is_written(made, energy, monkeypatch):
    monkeypatch.setattr(survey, "PAGE", 1)
    state = settle(energy)
    energy.query(query_embeddings=NEW[:1])
    thread = survey.survey(energy._keeper, energy._keeper.live, state)
    made.update(ids=["r3"], embeddings=NEW[:1])
    thread.join(30)
    assert not thread.is_alive()
    assert energy._keeper.watching.whole is None
    assert first(energy, NEW[0]) == ["r3"]


def test_words_are_surveyed_too(made):
    energy = EnergyCollection(made).build(lexical=True)
    settle(energy)
    made.update(ids=["r8"], documents=["a wombat"], embeddings=ROWS[8:9])
    surveyed(energy)
    got = energy.query(query_texts=["wombat"], query_embeddings=ROWS[:1], hybrid=True, n_results=3)
    assert "r8" in got["ids"][0]


def test_states_of_a_file(tmp_path):
    file = tmp_path / "chroma.sqlite3"
    assert watching.state_of(str(file)) is None
    file.write_bytes(b"one")
    old = time.time() - 60
    os.utime(file, (old, old))
    state = watching.state_of(str(file))
    assert state is not None
    assert watching.state_of(str(file)) == state
    (tmp_path / "chroma.sqlite3-wal").write_bytes(b"x")
    assert watching.state_of(str(file)) is None  # too young
    os.utime(tmp_path / "chroma.sqlite3-wal", (old, old))
    assert watching.state_of(str(file)) not in {None, state}
    whole = int(time.time() - 1)
    os.utime(file, (whole, whole))  # a clock of whole seconds
    assert watching.state_of(str(file)) is None


def test_a_database_in_memory_has_no_state():
    made = create(chromadb.EphemeralClient(), n=20, name="in-memory-state")
    energy = EnergyCollection(made).build()
    assert energy._keeper.host.state() is None
    assert first(energy, vectors(20)[4]) == ["r4"]
    assert np.isfinite(energy.query(query_embeddings=NEW[:1])["distances"]).all()
