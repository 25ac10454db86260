"""Where Chroma loses or refuses something without a word: that it does, and that we do not fall in.

Each test shows the pitfall on plain Chroma first, so that it tells when Chroma has changed.
Others have their tests beside what they threaten: functions that are rebuilt in every call, vetoes
that come too late and foreign functions in ``test_chroma_embedding`` and ``_reembedding``; rows
of other processes in ``_staleness`` and ``_faults``; documents as storage in ``_store``; filters
nobody asked for, names and listings in ``_corners``.
"""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from chromadb.errors import InternalError
from energy_chroma import Changes, EnergyCollection, OpticalEmbeddingFunction, view
from energy_chroma.host import ChromaHost
from support.chroma_cases import client, create, vectors

from energy_plugin.errors import ForeignFieldError
from energy_plugin.optical import load_encoder

MANY = 33_000  # one statement of SQLite carries 32,766 variables
NEW = vectors(6, seed=5)


@pytest.mark.slow
def test_more_rows_than_a_statement_of_sqlite_has_variables(tmp_path):
    where = client(tmp_path)
    made = where.create_collection("many", embedding_function=None)
    rows = vectors(MANY, dim=8)
    for start in range(0, MANY, 5_000):
        part = range(start, min(MANY, start + 5_000))
        made.add(
            ids=[f"r{i}" for i in part],
            embeddings=rows[part.start : part.stop],
            metadatas=[{"n": i, "when": "2020-01-01"} for i in part],
        )
    with pytest.raises(InternalError, match="too many SQL variables"):
        made.get(include=["metadatas"])
    energy = EnergyCollection(made).build()
    assert energy.verify() == []
    got = energy.query(query_embeddings=rows[:1], n_results=MANY, where={"n": {"$gte": 100}})
    assert len(set(got["ids"][0])) == MANY - 100
    assert len(energy.forget("2020-02-20", time_key="when", dry_run=False)) == MANY
    assert len(EnergyCollection(made).query(query_embeddings=rows[:3])["ids"][2]) == 10
    made.delete(ids=[f"r{i}" for i in range(5_000)])
    assert len(energy.refresh().removed) == 5_000
    energy.drop()
    assert not ChromaHost(made).ids(where=view._SHOWN)


def test_more_rows_than_chroma_takes_in_one_write(tmp_path):
    made = create(client(tmp_path), n=40)
    energy = EnergyCollection(made).build()
    limit = made._client.get_max_batch_size()
    ids, rows = [f"x{i}" for i in range(limit + 1)], vectors(limit + 1)
    for collection in (made, energy):
        with pytest.raises(InternalError, match="max batch size"):
            collection.add(ids=ids, embeddings=rows)
    assert energy.count() == 40
    assert len(energy.query(query_embeddings=NEW[:1], n_results=50)["ids"][0]) == 40
    energy.add(ids=ids[:limit], embeddings=rows[:limit])
    assert energy.query(query_embeddings=rows[7:8], n_results=1)["ids"] == [["x7"]]
    assert EnergyCollection(made).refresh() == Changes()


def logged(folder):
    """Bytes of metadata in the log of a Chroma folder."""
    with closing(sqlite3.connect(folder / "chroma.sqlite3")) as database:
        found = database.execute("select sum(length(metadata)) from embeddings_queue").fetchone()
    return found[0] or 0


def test_the_log_does_not_keep_former_generations(tmp_path):
    """By default Chroma logs the writes of a small collection for ever."""
    where = client(tmp_path)
    made = create(where, n=400)
    plain = where.create_collection("plain", embedding_function=None)
    empty = logged(tmp_path)
    for step in range(3):
        plain.upsert(ids=["x"], embeddings=[[1.0]], metadatas=[{"data": str(step) * 100_000}])
    assert logged(tmp_path) - empty > 300_000
    before = logged(tmp_path)
    energy = EnergyCollection(made)
    sizes = []
    for _ in range(4):
        energy.build(row_columns=False)
        sizes.append(logged(tmp_path) - before)
    info = energy.info()
    assert max(sizes) < 2 * 4 / 3 * info.bytes
    # a companion that was made without the setting gets it with the next generation
    energy._keeper.host.companion().modify(configuration={"hnsw": {"sync_threshold": 1000}})
    for _ in range(4):
        energy.build(row_columns=False)
    assert logged(tmp_path) - before < 4 * 4 / 3 * info.bytes


def test_own_writes_stay_within_the_batch_that_chroma_takes(tmp_path, monkeypatch):
    made = create(client(tmp_path), n=50)
    sizes = []
    update = type(made).update

    def counted(self, ids, **given):
        sizes.append(len(ids))
        return update(self, ids, **given)

    monkeypatch.setattr(ChromaHost, "max_batch", property(lambda _: 7))
    monkeypatch.setattr(type(made), "update", counted)
    EnergyCollection(made).build()
    assert sizes == [7] * 7 + [1]
    assert EnergyCollection(made).verify() == []


def test_values_that_chroma_drops_or_changes_are_never_written(tmp_path):
    made = create(client(tmp_path), n=20, space="l2")
    made.add(ids=["nan", "whole"], embeddings=NEW[:2], metadatas=[{"x": float("nan")}, {"x": 1.5}])
    assert made.get(ids=["nan"])["metadatas"] == [None]  # the key is gone
    made.add(ids=["prefix"], embeddings=NEW[2:3], metadatas=[{"chroma:x": 1, "y": 2}])
    assert made.get(ids=["prefix"])["metadatas"] == [{"y": 2}]
    made.add(ids=["zero"], embeddings=[[0.0] * 24])  # without direction: no λ to speak of
    EnergyCollection(made).build()
    for metadata in made.get()["metadatas"]:
        kinds = [type(metadata[key]) for key in (view.LAMBDA, view.DISPERSION, view.CELL)]
        assert kinds == [float, float, int]
    keys = (view.LAMBDA, view.DISPERSION, view.CELL)
    zero = made.get(ids=["zero"])["metadatas"][0]
    assert [zero[key] for key in keys] == [0.0, 0.0, -1]
    assert not any(key.startswith(("chroma:", "#", "$")) for key in keys)


def test_an_upsert_past_the_plugin_keeps_old_keys_until_refresh(tmp_path):
    made = create(client(tmp_path), n=60)
    energy = EnergyCollection(made).build()
    before = made.get(ids=["r3"])["metadatas"][0]
    made.upsert(ids=["r3"], embeddings=NEW[:1], metadatas=[{"tag": "x"}])
    assert made.get(ids=["r3"])["metadatas"] == [{**before, "tag": "x"}]  # merged: stale λ
    assert energy.query(query_embeddings=NEW[:1], n_results=1)["ids"] == [["r3"]]
    energy.refresh()
    after = made.get(ids=["r3"])["metadatas"][0]
    assert after[view.LAMBDA] != before[view.LAMBDA]
    assert after["n"] == 3


def test_unequal_finds_rows_without_the_key(tmp_path):
    made = create(client(tmp_path), n=30)
    EnergyCollection(made).build()
    made.add(ids=["bare"], embeddings=NEW[:1])
    assert "bare" in made.get(where={view.CELL: {"$ne": -7}})["ids"]
    assert view.missing(ChromaHost(made), ["r1", "bare"]) == ["bare"]


def test_metadata_of_the_collection_are_left_alone(tmp_path):
    """``modify(metadata=...)`` replaces all of it: the plugin keeps its pointer elsewhere."""
    where = client(tmp_path)
    made = where.create_collection("docs", embedding_function=None, metadata={"owner": "me"})
    made.add(ids=list("abc"), embeddings=NEW[:3])
    energy = EnergyCollection(made).build()
    energy.add(ids=["d"], embeddings=NEW[3:4])
    assert where.get_collection("docs").metadata == {"owner": "me"}
    made.modify(metadata={"owner": "you"})
    assert EnergyCollection(where.get_collection("docs")).refresh() == Changes()


def test_vectors_come_back_as_float64_and_are_compared_as_float32(tmp_path):
    made = create(client(tmp_path), n=30)
    got = made.get(include=["embeddings"])["embeddings"]
    assert got.dtype == np.float64
    assert EnergyCollection(made).build().refresh() == Changes()


def test_images_are_documents_and_queries(tmp_path):
    """Page images through ``images=`` and ``query_images=``, ranked with the texts' vectors."""
    texts = [
        "Heat transfer from a flat plate to a laminar boundary layer.",
        "How the kidney filters blood and returns salt to it.",
        "A compiler that translates arithmetic expressions in one pass.",
        "Sorting a long file on tape with few passes over the data.",
    ]
    typesetter = load_encoder("compact").typesetter
    pages = [typesetter.pages(text)[0].pixels for text in texts]
    made = client(tmp_path).create_collection(
        "pages", embedding_function=OpticalEmbeddingFunction()
    )
    made.add(ids=["t0", "t1"], documents=texts[:2])
    energy = EnergyCollection(made).build()
    energy.add(ids=["p2", "p3"], images=pages[2:], metadatas=[{"kind": "page"}, None])
    found = energy.query(query_images=pages, n_results=1, include=["metadatas", "energies"])
    assert found["ids"] == [["t0"], ["t1"], ["p2"], ["p3"]]
    assert found["metadatas"][2][0]["kind"] == "page"
    assert len(found["energies"][3][0]) == 4
    by_text = energy.query(query_texts=texts, n_results=4)
    by_page = energy.query(query_images=pages, n_results=4)
    np.testing.assert_allclose(by_page["distances"], by_text["distances"], atol=1e-3)
    energy.upsert(ids=["p2"], images=pages[:1])
    assert set(energy.query(query_images=pages[:1], n_results=2)["ids"][0]) == {"t0", "p2"}


def default_makes(monkeypatch, embed):
    """Have Chroma's default function embed without its model."""
    from chromadb.api.types import DefaultEmbeddingFunction

    def call(self, input):
        return [np.asarray(embed(text), dtype=np.float32) for text in input]

    monkeypatch.setattr(DefaultEmbeddingFunction, "__call__", call)


@pytest.mark.parametrize("named", [True, False])
def test_texts_are_not_embedded_by_a_default_function_that_the_rows_are_not_of(
    tmp_path, monkeypatch, named
):
    default_makes(monkeypatch, lambda text: np.random.default_rng(len(text)).normal(size=384))
    where = client(tmp_path)
    options = {} if named else {"embedding_function": None}
    made = where.create_collection("ours", **options)
    texts = [f"row {i} {'of rivers' * (i % 5)}" for i in range(30)]
    encoder = load_encoder("compact")
    made.add(ids=texts, documents=texts, embeddings=list(encoder.encode_document(texts)))
    made = client(tmp_path).get_collection("ours")
    assert len(made.query(query_texts=["row"])["ids"][0]) == 10  # nonsense, without a word
    energy = EnergyCollection(made).build(lexical=True)
    for ask in (
        lambda: energy.query(query_texts=["row 3"]),
        lambda: energy.query(query_texts=["row 3"], hybrid=True),
        lambda: energy.embed_query("row 3"),
    ):
        with pytest.raises(ForeignFieldError, match=r"function, but its rows have a cosine of"):
            ask()
    vector = encoder.encode_query([texts[3]])
    assert energy.query(query_embeddings=vector)["ids"][0][0] == texts[3]
    found = energy.query(query_embeddings=vector, query_texts=[texts[3]], hybrid=True)
    assert found["ids"][0][0] == texts[3]


def test_texts_are_embedded_by_a_default_function_that_made_the_rows(tmp_path, monkeypatch):
    asked = []

    def embed(text):
        asked.append(text)
        return np.random.default_rng(len(text)).normal(size=24)

    default_makes(monkeypatch, embed)
    made = client(tmp_path).create_collection("plain")
    texts = ["x" * (i + 1) for i in range(20)]
    made.add(ids=texts, documents=texts)
    energy = EnergyCollection(client(tmp_path).get_collection("plain")).build()
    del asked[:]
    for _ in range(2):
        assert energy.query(query_texts=["x" * 7])["ids"][0][0] == "x" * 7
    assert len(asked) == 3 + 2  # rows are looked at once
