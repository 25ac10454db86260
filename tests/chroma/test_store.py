"""The stored field: what stands where, damage, foreign fields, and a new process."""

import json
import subprocess
import sys

import numpy as np
import pytest
from chromadb.api.types import EmbeddingFunction
from energy_chroma import EnergyCollection, store
from support.chroma_cases import GramEmbedding, answer, client, companion, create, texts, vectors

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import CorruptFieldError, ForeignFieldError

QUERIES = vectors(4, seed=1)
OTHER = EnergyConfig(n_anchors=5, bits=8)


@pytest.fixture
def made(tmp_path):
    return create(client(tmp_path), n=120)


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
