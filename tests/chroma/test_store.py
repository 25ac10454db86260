"""The stored field: generations, crashes, damage, and a new process."""

import json
import subprocess
import sys

import numpy as np
import pytest
from chromadb.api.types import EmbeddingFunction
from energy_chroma import Changes, EnergyCollection, generations, store, view
from energy_chroma.store import FieldStore
from support.chroma_cases import GramEmbedding, client, create, texts, vectors

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import CorruptFieldError, ForeignFieldError, NotBuiltError

QUERIES = vectors(4, seed=1)
OTHER = EnergyConfig(n_anchors=5, bits=8)


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def made(tmp_path):
    return create(client(tmp_path), n=120)


def companion(energy):
    return energy._keeper.host.companion()


def answer(made, **filters):
    got = EnergyCollection(made).query(query_embeddings=QUERIES, include=["distances"], **filters)
    return got["ids"], got["distances"]


def crash_at(monkeypatch, number):
    """Die before the given one of the steps write, flip and sweep; False if there are fewer."""
    steps = {"left": number}

    def dying(step):
        def call(*args, **kwargs):
            if steps["left"] == 0:
                raise Crash
            steps["left"] -= 1
            return step(*args, **kwargs)

        return call

    for name in ("_write", "_flip", "_sweep"):
        monkeypatch.setattr(FieldStore, name, dying(getattr(FieldStore, name)))
    return steps


def test_records_are_small_checksummed_and_never_documents(made, monkeypatch):
    monkeypatch.setattr(store, "PART_CHARACTERS", 2_000)
    energy = EnergyCollection(made).build()
    records = companion(energy).get()
    assert records["documents"] == [None] * len(records["ids"])
    assert max(len(record["data"]) for record in records["metadatas"]) == 2_000
    names = set(records["ids"])
    assert {"1/field/0", "1/rows/0/0"} <= names
    assert {name.rsplit("/", 1)[1] for name in names if name.startswith("1/rows/0/")} >= {"0", "1"}
    assert all(name.startswith("1/") for name in names)
    assert answer(made) == answer(energy.collection)


def test_two_writers_of_one_chunk_do_not_mix_their_parts(made, monkeypatch):
    """Both may choose its number; the first to write its first record has it, and whole."""
    monkeypatch.setattr(store, "PART_CHARACTERS", 200)
    energy = EnergyCollection(made).build()
    field_store, records = energy._keeper.store, companion(energy)
    blobs = [bytes([number]) * 1000 for number in (1, 2)]
    upsert = type(records).upsert
    calls = []

    def between(self, **given):
        upsert(self, **given)
        calls.append(given["ids"])
        if len(calls) == 1:  # the other one writes while this one is half-way
            FieldStore(energy._keeper.host)._write(records, 1, "rows/1", blobs[0], "other")

    monkeypatch.setattr(type(records), "upsert", between)
    field_store._write(records, 1, "rows/1", blobs[1], "own")
    assert len(calls) == 2
    assert field_store._blob(records, "1/rows/1") == blobs[0]
    assert generations.are_ours(records, ["1/rows/1/0"], "other")
    assert not generations.are_ours(records, ["1/rows/1/0"], "own")
    monkeypatch.undo()
    energy.repair()
    assert energy.verify() == []


def at_flip(monkeypatch, number, call):
    """Call that once, right before the given flip."""
    flip, flips = FieldStore._flip, []

    def interrupted(self, *arguments):
        flips.append(None)
        if len(flips) == number + 1:
            call()
        flip(self, *arguments)

    monkeypatch.setattr(FieldStore, "_flip", interrupted)


def generations_of(energy):
    return {name.split("/")[0] for name in companion(energy).get(include=[])["ids"]}


def test_a_field_published_during_another_takes_the_next_number(made, monkeypatch):
    """One process publishes whole while another has chosen its number and not yet flipped."""
    EnergyCollection(made).build()
    claimed, begun, claims = FieldStore._claimed, [], []

    def interrupted(self, *arguments):
        if not begun:
            begun.append(True)
            EnergyCollection(made).build(OTHER)
        claims.append(claimed(self, *arguments))
        return claims[-1]

    monkeypatch.setattr(FieldStore, "_claimed", interrupted)
    energy = EnergyCollection(made).build()
    assert claims == [1, None, 1]  # chunks of its own
    assert energy.info().generation == 3
    assert generations_of(energy) == {"3"}
    assert energy.verify() == []
    assert answer(made) == answer(energy.collection)


def test_a_flip_back_to_a_deleted_generation_is_put_right(made, monkeypatch, caplog):
    """A row is added in the very moment between the last look at the pointer and the flip."""
    energy = EnergyCollection(made).build()
    at_flip(monkeypatch, 0, lambda: EnergyCollection(made).build(OTHER))
    energy.add(ids=["a"], embeddings=vectors(1, seed=5))
    monkeypatch.undo()
    assert companion(energy).metadata["generation"] == 1
    expected = vectors(1, seed=5)
    for one in (energy, EnergyCollection(made)):
        assert one.query(query_embeddings=expected, n_results=1)["ids"] == [["a"]]
    assert "generation 2 stands" in caplog.text
    reopened = EnergyCollection(made)
    assert reopened.info().generation == 2
    assert reopened.info().bits == OTHER.bits
    reopened.repair()
    assert EnergyCollection(made).verify() == []


def test_a_view_written_late_leaves_a_newer_field_alone(made, monkeypatch):
    energy = EnergyCollection(made).build()
    original = view.write
    done = []

    def interrupted(*arguments, **options):
        original(*arguments, **options)
        if not done:
            done.append(True)
            EnergyCollection(made).build(OTHER)

    monkeypatch.setattr(view, "write", interrupted)
    energy.build()
    assert companion(energy).metadata["generation"] == 3
    assert EnergyCollection(made).info().bits == OTHER.bits
    assert energy.verify() == []


def test_the_pointer_says_what_the_field_is(made):
    energy = EnergyCollection(made).build().build()
    assert companion(energy).name == f"energy-{made.id}"
    metadata = companion(energy).metadata
    assert str(made.id) in metadata.pop("energy_about")
    assert metadata == {
        "energy_format": 1,
        "of": str(made.id),
        "dim": 24,
        "embedder": "null",
        "row_columns": True,
        "generation": 2,
        "chunks": 1,
        "version": 4,
        "viewed": 2,
        "words": "",
        "share": -1.0,
    }
    assert {name.split("/")[0] for name in companion(energy).get(include=[])["ids"]} == {"2"}


def test_a_crash_at_any_step_of_a_rebuild_leaves_a_readable_field(made, monkeypatch):
    EnergyCollection(made).build()
    former = answer(made)
    outcomes = []
    for number in range(20):
        with monkeypatch.context() as patch:
            crash_at(patch, number)
            try:
                EnergyCollection(made).build(OTHER)
            except Crash:
                done = False
            else:
                done = True
        outcomes.append(answer(made) == former)
        if done:
            break
        EnergyCollection(made).build()
        assert answer(made) == former
        records = companion(EnergyCollection(made)).get(include=[])["ids"]
        assert len({name.split("/")[0] for name in records}) == 1
    # field, rows and flip: the former field; the sweep behind it and the view: the new one
    assert outcomes == [True, True, True, False, False, False]


def test_a_crash_in_the_first_build_leaves_an_unbuilt_collection(made, monkeypatch):
    before = made.get()
    for number in range(3):
        with monkeypatch.context() as patch:
            crash_at(patch, number)
            with pytest.raises(Crash):
                EnergyCollection(made).build()
        with pytest.raises(NotBuiltError):
            answer(made)
        assert made.get() == before
    EnergyCollection(made).build()
    assert sorted(companion(EnergyCollection(made)).get(include=[])["ids"]) == [
        "3/field/0",
        "3/rows/0/0",
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_a_crash_while_adding_keeps_row_and_field(made, monkeypatch, number):
    energy = EnergyCollection(made).build()
    with monkeypatch.context() as patch:
        crash_at(patch, number)
        with pytest.raises(Crash):
            energy.add(ids=["a"], embeddings=vectors(1, seed=5), metadatas=[{"n": 7}])
    reopened = EnergyCollection(made)
    got = reopened.query(query_embeddings=vectors(1, seed=5), n_results=1)
    assert got["ids"] == [["a"]]
    assert got["metadatas"][0][0]["n"] == 7
    assert reopened.refresh() == Changes(added=("a",))
    assert EnergyCollection(made).refresh() == Changes()


def test_a_crash_between_field_and_row_columns_is_mended_by_refresh(made, monkeypatch):
    energy = EnergyCollection(made).build()
    with monkeypatch.context() as patch:
        patch.setattr("energy_chroma.view.write", lambda *_, **__: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            energy.build(OTHER)
    reopened = EnergyCollection(made)
    assert reopened.refresh() == Changes()
    columns = reopened._keeper.live.index.columns
    rows = made.get()["metadatas"]
    assert [row["energy_cell"] for row in rows] == columns.cell.tolist()
    np.testing.assert_array_equal(np.float32([r["energy_lambda"] for r in rows]), columns.lambda_)
    assert reopened._keeper.store.pointer().viewed == 2


def test_a_failed_append_is_reported_and_mended(made, monkeypatch, caplog):
    energy = EnergyCollection(made).build()
    with monkeypatch.context() as patch:
        patch.setattr(FieldStore, "append", lambda *_: (_ for _ in ()).throw(OSError("full")))
        energy.add(ids=["a"], embeddings=vectors(1, seed=5))
    assert "could not be stored; refresh() writes them" in caplog.text
    assert energy.query(query_embeddings=vectors(1, seed=5), n_results=1)["ids"] == [["a"]]
    assert energy.refresh() == Changes(changed=("a",))
    assert EnergyCollection(made).refresh() == Changes()


def damaged(record, how):
    data = record["data"]
    if how == "altered":
        middle = len(data) // 2
        flipped = "A" if data[middle] != "A" else "B"
        return {**record, "data": data[:middle] + flipped + data[middle + 1 :]}
    if how == "cut off":
        return {**record, "data": data[: len(data) // 8 * 4]}
    return {**record, "data": "?" * len(data)}


@pytest.mark.parametrize("name", ["1/field/0", "1/rows/0/0"])
@pytest.mark.parametrize("how", ["altered", "cut off", "not base64", "missing", "without data"])
def test_damage_is_found_and_build_mends_it(made, name, how):
    energy = EnergyCollection(made).build()
    sound = answer(made)
    records = companion(energy)
    record = records.get(ids=[name])["metadatas"][0]
    if how == "missing":
        records.delete(ids=[name])
    elif how == "without data":
        records.update(ids=[name], metadatas=[{"data": None}])
    else:
        records.update(ids=[name], metadatas=[damaged(record, how)])
    with pytest.raises(CorruptFieldError, match="uild"):
        answer(made)
    rows = made.get()
    with pytest.raises(CorruptFieldError):
        EnergyCollection(made).add(ids=["a"], embeddings=QUERIES[:1])
    assert made.get() == rows
    EnergyCollection(made).build()
    assert answer(made) == sound


def change_pointer(energy, **changes):
    records = companion(energy)
    records.modify(metadata={**records.metadata, **changes})


def test_another_format_version_is_refused(made):
    energy = EnergyCollection(made).build()
    change_pointer(energy, energy_format=2)
    with pytest.raises(CorruptFieldError, match=r"version 2.*reads 1.*upgrade energy-plugin"):
        answer(made)
    EnergyCollection(made).build()
    assert answer(made)[0]


def test_an_incomplete_pointer_is_refused(made):
    energy = EnergyCollection(made).build()
    metadata = dict(companion(energy).metadata)
    del metadata["chunks"]
    companion(energy).modify(metadata=metadata)
    with pytest.raises(CorruptFieldError, match="'chunks'"):
        answer(made)
    EnergyCollection(made).build()
    assert answer(made)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "another"}, "belongs to collection another"),
        ({"dim": 25}, "Rows of 'docs' have 24 dimensions, its energy field has 25"),
    ],
)
def test_a_foreign_field_is_refused(made, changes, message):
    energy = EnergyCollection(made).build()
    change_pointer(energy, **changes)
    with pytest.raises(ForeignFieldError, match=message):
        answer(made)


def test_another_embedder_is_refused(tmp_path):
    where = client(tmp_path)
    made = where.create_collection("texts", embedding_function=GramEmbedding())
    made.add(ids=[f"t{i}" for i in range(60)], documents=texts(60))
    energy = EnergyCollection(made).build()
    assert json.loads(energy._keeper.store.pointer().embedder) == {
        "name": "test_grams",
        "config": {"size": 3},
    }
    EnergyCollection(where.get_collection("texts")).query(query_texts=["wing"])
    # Chroma accepts it, as the name is the same
    wrong = where.get_collection("texts", embedding_function=GramEmbedding(size=2))
    with pytest.raises(ForeignFieldError, match=r'test_grams \{"size": 3\}.*\{"size": 2\}'):
        EnergyCollection(wrong).query(query_texts=["wing"])


def test_functions_without_configuration_have_no_identity(tmp_path, recwarn):
    class Plain(EmbeddingFunction):
        def __init__(self):
            pass

        def __call__(self, input):
            return [np.float32([len(text), 1]) for text in input]

    made = client(tmp_path).create_collection("plain", embedding_function=Plain())
    made.add(ids=["a", "b"], documents=["x", "long text"])
    recwarn.clear()
    energy = EnergyCollection(made).build()
    assert [str(warning.message) for warning in recwarn] == []
    assert energy._keeper.store.pointer().embedder == "null"
    assert energy.query(query_texts=["long text"], n_results=1)["ids"] == [["b"]]


def test_a_new_process_reads_what_this_one_wrote(made, tmp_path):
    energy = EnergyCollection(made).build()
    energy.add(ids=["a"], embeddings=vectors(1, seed=5), metadatas=[{"n": -1}])
    energy.delete(ids=["r3"])
    energy.update(ids=["r4"], embeddings=vectors(1, seed=6))
    expected = energy.query(query_embeddings=QUERIES, n_results=6, where={"n": {"$lt": 60}})
    np.save(tmp_path / "queries.npy", QUERIES)
    program = """
import json, sys
import chromadb, numpy
from energy_chroma import EnergyCollection

client = chromadb.PersistentClient(sys.argv[1])
energy = EnergyCollection(client.get_collection("docs"))
queries = numpy.load(sys.argv[2])
found = energy.query(query_embeddings=queries, n_results=6, where={"n": {"$lt": 60}})
print(json.dumps([found, energy.refresh().removed]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "queries.npy")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found, removed = json.loads(done.stdout)
    for numbers in ("distances", "relevance"):
        np.testing.assert_allclose(found.pop(numbers), expected.pop(numbers), atol=1e-6)
    assert found == expected
    assert removed == []


def test_a_rebuild_elsewhere_is_noticed(made):
    reader = EnergyCollection(made).build()
    writer = EnergyCollection(made).build(OTHER)
    assert reader.query(query_embeddings=QUERIES) == writer.query(query_embeddings=QUERIES)
    assert reader._keeper.live.pointer.generation == 2
    late = EnergyCollection(made, watch=False)
    late.query(query_embeddings=QUERIES)
    writer.build()
    late.add(ids=["a"], embeddings=vectors(1, seed=5))
    assert EnergyCollection(made).refresh() == Changes()


def test_a_drop_elsewhere_is_noticed(made):
    reader = EnergyCollection(made).build()
    EnergyCollection(made).drop()
    with pytest.raises(NotBuiltError):
        reader.query(query_embeddings=QUERIES)
