"""Writes through the plugin: rows and columns together, nothing lost, nothing half-written."""

import inspect
import threading

import numpy as np
import pytest
from chromadb.api.models.Collection import Collection
from chromadb.errors import DuplicateIDError
from energy_chroma import Changes, EnergyCollection, writing
from energy_chroma.stored import is_companion
from support.chroma_cases import GramEmbedding, client, create, stored, texts, vectors
from support.moments import dying, once

from energy_plugin.energy import EnergyIndex
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.stored.moments import Moment

KEYS = {"energy_lambda", "energy_dispersion", "energy_cell"}
NEW = vectors(6, seed=5)


@pytest.fixture
def energy(tmp_path):
    return EnergyCollection(create(client(tmp_path), n=120)).build()


def answer(energy, queries=NEW, k=8):
    got = energy.query(query_embeddings=queries, n_results=k, include=["distances"])
    return got["ids"], np.asarray(got["distances"])


def assert_same(left, right):
    assert left[0] == right[0]
    np.testing.assert_allclose(left[1], right[1], atol=1e-5)


def test_build_writes_the_columns_beside_the_users_metadata(energy):
    ids, matrix = stored(energy.collection)
    columns = EnergyIndex.fit(matrix).columns
    rows = energy.get(ids=["r0", "r41"], include=["metadatas"])["metadatas"]
    for number, row in zip((0, 41), rows, strict=True):
        assert row == {
            "n": number,
            "even": number % 2 == 0,
            "energy_lambda": pytest.approx(float(columns.lambda_[number]), abs=1e-7),
            "energy_dispersion": pytest.approx(float(columns.dispersion[number]), abs=1e-7),
            "energy_cell": int(columns.cell[number]),
        }
    cell = int(columns.cell[41])
    found = energy.get(where={"energy_cell": cell})["ids"]
    assert found == [ids[row] for row in np.flatnonzero(columns.cell == cell)]


def test_build_without_row_columns_leaves_rows_alone(tmp_path):
    made = create(client(tmp_path), n=40)
    before = made.get()
    energy = EnergyCollection(made).build(row_columns=False)
    energy.add(ids=["new"], embeddings=NEW[:1], metadatas=[{"n": -1}])
    assert made.get(ids=["new"])["metadatas"] == [{"n": -1}]
    made.delete(ids=["new"])
    assert made.get() == before
    assert answer(energy, vectors(40)[7:8], 1)[0] == [["r7"]]


def test_added_rows_are_searchable_and_stored(energy):
    energy.add(
        ids=["a", "b"],
        embeddings=NEW[:2],
        metadatas=[{"n": 1000}, None],
        documents=["first", None],
        uris=["file:///a", None],
    )
    assert answer(energy, NEW[:2], 1)[0] == [["a"], ["b"]]
    got = energy.get(ids=["a", "b"], include=["metadatas", "documents", "uris"])
    assert (got["documents"], got["uris"]) == (["first", None], ["file:///a", None])
    assert set(got["metadatas"][0]) == KEYS | {"n"}
    assert set(got["metadatas"][1]) == KEYS
    reopened = EnergyCollection(energy.collection)
    assert_same(answer(reopened), answer(energy))
    assert reopened.refresh() == Changes()


def test_one_row_given_plainly(energy):
    energy.add(ids="a", embeddings=NEW[0].tolist(), metadatas={"n": 7}, documents="one")
    assert energy.query(query_embeddings=NEW[0].tolist(), n_results=1)["documents"] == [["one"]]


def test_add_leaves_rows_that_exist(energy):
    energy.add(ids=["r3", "a"], embeddings=NEW[:2], metadatas=[{"n": -3}, {"n": -1}])
    assert energy.count() == 121
    assert energy.get(ids=["r3"])["metadatas"][0]["n"] == 3
    assert answer(energy, vectors(120)[3:4], 1)[0] == [["r3"]]
    assert answer(energy, NEW[1:2], 1)[0] == [["a"]]
    assert EnergyCollection(energy.collection).refresh() == Changes()


def test_upsert_replaces_and_adds(energy):
    before = energy.get(ids=["r3"])["metadatas"][0]
    energy.upsert(ids=["r3", "a"], embeddings=NEW[:2], metadatas=[{"tag": "x"}, {"tag": "y"}])
    after = energy.get(ids=["r3"])["metadatas"][0]
    assert (after["n"], after["tag"]) == (3, "x")
    assert after["energy_lambda"] != before["energy_lambda"]
    assert answer(energy, NEW[:2], 1)[0] == [["r3"], ["a"]]
    reopened = EnergyCollection(energy.collection)
    assert_same(answer(reopened), answer(energy))
    assert reopened.refresh() == Changes()


def test_update_of_a_vector_moves_the_row(energy):
    energy.update(ids=["r3", "nowhere"], embeddings=NEW[:2])
    assert energy.count() == 120
    assert answer(energy, NEW[:1], 1)[0] == [["r3"]]
    assert energy.get(ids=["r3"])["metadatas"][0]["n"] == 3
    reopened = EnergyCollection(energy.collection)
    assert_same(answer(reopened), answer(energy))
    assert reopened.refresh() == Changes()


def test_update_of_metadata_alone_keeps_the_rest(energy):
    before = energy.get(ids=["r3"])["metadatas"][0]
    energy.update(ids=["r3"], metadatas=[{"tag": "x"}])
    assert energy.get(ids=["r3"])["metadatas"] == [{**before, "tag": "x"}]
    assert answer(energy, vectors(120)[3:4], 1)[0] == [["r3"]]


def test_a_changed_document_is_embedded_again(tmp_path):
    made = client(tmp_path).create_collection("texts", embedding_function=GramEmbedding())
    documents = texts(80)
    made.add(ids=[f"t{i}" for i in range(80)], documents=documents)
    energy = EnergyCollection(made).build()
    energy.update(ids=["t5"], documents=["zebra crossing quietly"])
    energy.add(ids=["t99"], documents=["giraffe giraffe giraffe"])
    got = energy.query(query_texts=["zebra crossing quietly", "giraffe giraffe"], n_results=1)
    assert got["ids"] == [["t5"], ["t99"]]
    assert energy.refresh() == Changes()


def test_deleted_rows_are_gone(energy):
    # Chroma's own answer is passed on, which is None in 1.5.0
    counts = "limit" in inspect.signature(Collection.delete).parameters
    for condition, count in (
        ({"ids": ["r3", "r4"]}, 2),
        ({"where": {"n": {"$gte": 110}}}, 10),
        ({"where_document": {"$contains": "document 50 "}}, 1),
    ):
        assert energy.delete(**condition) == ({"deleted": count} if counts else None)
    gone = {"r3", "r4", "r50", *(f"r{i}" for i in range(110, 120))}
    ids = energy.query(query_embeddings=vectors(120)[3:4], n_results=200)["ids"][0]
    assert set(ids) == {f"r{i}" for i in range(120)} - gone
    reopened = EnergyCollection(energy.collection)
    assert_same(answer(reopened), answer(energy))
    with pytest.raises(ValueError, match="At least one of"):
        energy.delete()


def test_delete_everything_then_add_again(energy):
    energy.delete(where={"n": {"$gte": 0}})
    assert energy.query(query_embeddings=NEW[:2])["ids"] == [[], []]
    energy.refresh()
    assert EnergyCollection(energy.collection).query(query_embeddings=NEW[:1])["ids"] == [[]]
    energy.add(ids=["a"], embeddings=NEW[:1])
    assert energy.query(query_embeddings=NEW[:1])["ids"] == [["a"]]


@pytest.mark.parametrize("verb", ["add", "upsert", "update"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"embeddings": [[1.0] * 7] * 2}, InvalidInputError),
        ({"embeddings": [[1.0] * 24, [float("nan")] * 24]}, InvalidInputError),
        ({"embeddings": NEW[:1]}, ValueError),
        ({"embeddings": NEW[:2], "metadatas": [{"n": 1}, {"n": object()}]}, ValueError),
        ({"embeddings": NEW[:2], "ids": ["x", "x"]}, DuplicateIDError),
        ({"documents": ["no embedding function", "here"]}, ValueError),
    ],
)
def test_a_refused_write_changes_nothing(energy, verb, arguments, error):
    before, rows = answer(energy), energy.get()
    with pytest.raises(error):
        getattr(energy, verb)(**{"ids": ["x", "r5"], **arguments})
    assert energy.get() == rows
    assert_same(answer(energy), before)
    assert_same(answer(EnergyCollection(energy.collection)), before)


def test_a_failing_host_write_changes_nothing(energy, monkeypatch):
    before = answer(energy)

    def fail(**_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(energy.collection, "upsert", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        energy.upsert(ids=["r5", "x"], embeddings=NEW[:2])
    assert_same(answer(energy), before)


def test_writes_before_the_first_build_reach_the_host(tmp_path):
    energy = EnergyCollection(create(client(tmp_path), n=20))
    energy.add(ids=["a"], embeddings=NEW[:1])
    energy.delete(ids=["r0"])
    assert energy.count() == 20
    energy.build()
    assert answer(energy, NEW[:1], 1)[0] == [["a"]]


def test_many_small_writes_are_merged(energy, monkeypatch):
    monkeypatch.setattr(writing, "LOOSE_CHUNKS", 3)
    for number, vector in enumerate(NEW):
        energy.add(ids=[f"a{number}"], embeddings=[vector])
    pointer = energy._keeper.store.pointer()
    assert (pointer.generation, pointer.chunks, pointer.viewed) == (3, 1, 3)
    assert_same(answer(EnergyCollection(energy.collection)), answer(energy))
    assert answer(energy, NEW, 1)[0] == [[f"a{number}"] for number in range(6)]


def test_drop_leaves_the_users_rows_as_they_were(tmp_path):
    where = client(tmp_path)
    made = create(where, n=40)
    made.add(ids=["bare"], embeddings=NEW[:1])
    before = made.get(include=["metadatas", "documents", "embeddings"])
    energy = EnergyCollection(made).build()
    assert len(where.list_collections()) == 2
    energy.drop()
    after = made.get(include=["metadatas", "documents", "embeddings"])
    np.testing.assert_array_equal(after.pop("embeddings"), before.pop("embeddings"))
    assert after == before
    assert [one.name for one in where.list_collections()] == ["docs"]
    with pytest.raises(NotBuiltError):
        energy.query(query_embeddings=NEW[:1])
    energy.drop()


def test_get_peek_and_count_are_chromas(energy):
    assert energy.get(ids=["r1"]) == energy.collection.get(ids=["r1"])
    assert energy.peek(2)["ids"] == ["r0", "r1"]
    assert energy.count() == 120
    assert repr(energy) == "EnergyCollection(name=docs)"


def test_a_renamed_collection_keeps_its_field(energy):
    before = answer(energy)
    energy.collection.modify(name="renamed")
    assert_same(answer(EnergyCollection(energy.collection)), before)


def test_others_read_and_write_while_a_build_runs(energy):
    during = []

    def write():
        energy.add(ids=["late"], embeddings=NEW[:1])
        during.append(answer(energy, NEW[:1], 1)[0])

    with once(Moment.FITTING, write):
        energy.build()
    assert during == [[["late"]]]
    for one in (energy, EnergyCollection(energy.collection)):
        assert answer(one, NEW[:1], 1)[0] == [["late"]]
    assert energy.refresh() == Changes()


def test_threads_may_share_one_object(energy):
    errors = []

    def work(number):
        try:
            for step in range(4):
                energy.add(ids=[f"t{number}-{step}"], embeddings=vectors(1, seed=50 + number))
                energy.query(query_embeddings=NEW[:2])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert energy.count() == 136
    assert EnergyCollection(energy.collection).refresh() == Changes()


def test_deleting_leaves_nothing_behind(energy):
    energy.delete(ids=["r3", "r4"])
    energy.delete(where={"n": {"$gte": 110}})
    for one in (energy, EnergyCollection(energy.collection)):
        assert not one.info().pending
        assert one.verify() == []
        assert one.refresh() == Changes()
    energy.add(ids=["r3"], embeddings=NEW[:1])
    reopened = EnergyCollection(energy.collection)
    assert reopened.query(query_embeddings=NEW[:1], n_results=1)["ids"] == [["r3"]]
    assert reopened.verify() == []


def test_a_crash_after_a_delete_is_mended(energy, caplog):
    with dying(Moment.WRITING, skip=1, error=OSError("disk full")):  # the first is the row's own
        energy.delete(ids=["r3"])
    assert "refresh() removes them" in caplog.text
    fresh = EnergyCollection(energy.collection)
    assert "r3" not in fresh.query(query_embeddings=vectors(120)[3:4], n_results=200)["ids"][0]
    assert [finding.kind for finding in fresh.verify()] == ["pending"]
    assert energy.refresh() == Changes(removed=("r3",))
    assert EnergyCollection(energy.collection).verify() == []


def test_a_companion_is_marked_and_cannot_be_built(energy):
    companion = energy._keeper.host.companion()
    assert str(energy.collection.id) in companion.metadata["energy_about"]
    with pytest.raises(InvalidInputError, match="energy columns of another collection"):
        EnergyCollection(companion).build()
    assert energy.verify() == []
    assert not is_companion("energy-reports")
    assert is_companion(companion.name)
