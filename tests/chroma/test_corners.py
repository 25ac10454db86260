"""Corners of Chroma's surface that a collection of the plugin must not lose."""

import asyncio

import chromadb
import numpy as np
import pytest
from chromadb import Schema, VectorIndexConfig
from chromadb.api.models.Collection import Collection
from energy_chroma import AsyncEnergyCollection, EnergyCollection, OpticalEmbeddingFunction, view
from support.chroma_cases import GramEmbedding, client, create, texts, vectors
from support.chroma_server import Server

from energy_plugin.errors import ForeignFieldError, InvalidInputError

ROWS = vectors(40)
DOCUMENTS = texts(60)


def test_a_collection_made_by_a_schema(tmp_path):
    schema = Schema().create_index(
        config=VectorIndexConfig(space="cosine", embedding_function=GramEmbedding())
    )
    made = client(tmp_path).create_collection("schema", schema=schema)
    made.add(ids=[f"t{i}" for i in range(60)], documents=DOCUMENTS)
    energy = EnergyCollection(made).build()
    energy.add(ids=["more"], documents=["nozzle and lens and bone"])
    again = EnergyCollection(client(tmp_path).get_collection("schema"))
    found = again.query(query_texts=["nozzle and lens and bone"], n_results=3)
    assert found["ids"][0][0] == "more"
    assert again.info().embedder == '{"config": {"size": 3}, "name": "test_grams"}'
    again.reembed(GramEmbedding(2))
    assert again.query(query_texts=[DOCUMENTS[4]], n_results=1)["documents"] == [[DOCUMENTS[4]]]


def test_a_collection_whose_metadata_name_its_space(tmp_path):
    """The way of Chroma before 1.0; it is kept as metadata, and counts."""
    made = client(tmp_path).create_collection(
        "former",
        metadata={"hnsw:space": "cosine", "owner": "me"},
        embedding_function=GramEmbedding(),
    )
    made.add(ids=[f"t{i}" for i in range(60)], documents=DOCUMENTS)
    energy = EnergyCollection(made).build()
    assert energy.query(query_texts=[DOCUMENTS[9]], n_results=1)["documents"] == [[DOCUMENTS[9]]]
    energy.reembed(GramEmbedding(2))
    fresh = client(tmp_path).get_collection("former")
    assert fresh.metadata == {"hnsw:space": "cosine", "owner": "me"}
    assert fresh.configuration_json["hnsw"]["space"] == "cosine"
    found = EnergyCollection(fresh).query(query_texts=[DOCUMENTS[9]], n_results=1)
    assert found["documents"] == [[DOCUMENTS[9]]]


def test_ids_of_any_kind_come_back(tmp_path):
    ids = [
        "ä 語 \U0001f600",
        'quote " and \\',
        "line\nbreak",
        "x" * 3000,
        "../../up",
        "0",
        " ",
        "null",
    ]
    made = client(tmp_path).create_collection("ids", embedding_function=None)
    made.add(ids=ids, embeddings=ROWS[: len(ids)])
    EnergyCollection(made).build()
    again = EnergyCollection(made)
    found = again.query(query_embeddings=ROWS[: len(ids)], n_results=1)["ids"]
    assert [line[0] for line in found] == ids
    assert again.verify() == []
    again.delete(ids=ids[:3])
    assert set(again.query(query_embeddings=ROWS[:1], n_results=20)["ids"][0]) == set(ids[3:])


@pytest.mark.parametrize(
    "own", [{"energy_cell": "lithium"}, {"energy_lambda": 0.25}, {"energy_dispersion": True}]
)
def test_metadata_of_the_user_under_the_plugins_names_are_not_taken(tmp_path, own):
    made = create(client(tmp_path), n=30)
    made.update(ids=["r7"], metadatas=[own])
    energy = EnergyCollection(made)
    with pytest.raises(InvalidInputError, match=r"row_columns=False"):
        energy.build()
    assert made.get(ids=["r7"])["metadatas"] == [{"n": 7, "even": False, **own}]
    energy.build(row_columns=False)
    assert energy.query(query_embeddings=ROWS[:1], n_results=30)["ids"]
    energy.drop()
    assert made.get(ids=["r7"])["metadatas"] == [{"n": 7, "even": False, **own}]


def test_copied_rows_may_bring_the_plugins_keys(tmp_path):
    where = client(tmp_path)
    made = create(where, n=30)
    EnergyCollection(made).build()
    got = made.get(include=["embeddings", "metadatas", "documents"])
    copy = where.create_collection("copy", embedding_function=None)
    copy.add(**{name: got[name] for name in ("ids", "embeddings", "metadatas", "documents")})
    assert EnergyCollection(copy).build().verify() == []


def test_a_name_that_leaves_no_room_for_a_copy_is_refused_before_anything_changes(tmp_path):
    where = client(tmp_path)
    name = "n" * 512
    made = where.create_collection(name, embedding_function=GramEmbedding())
    made.add(ids=["a", "b"], documents=DOCUMENTS[:2])
    with pytest.raises(InvalidInputError, match="512"):
        EnergyCollection(made).reembed(GramEmbedding(2))
    assert [one.name for one in where.list_collections()] == [name]
    assert made.get()["documents"] == DOCUMENTS[:2]


def test_listing_collections_stays_cheap(tmp_path):
    """Chroma sends the metadata of every collection with each listing: a pointer, no artefacts."""
    where = client(tmp_path)
    made = where.create_collection("docs", embedding_function=OpticalEmbeddingFunction())
    made.add(ids=["a", "b", "c"], documents=["one text", "two texts", "three texts"])
    energy = EnergyCollection(made).build()
    companion = energy._keeper.host.companion()
    assert sum(len(str(key)) + len(str(value)) for key, value in companion.metadata.items()) < 4000


def test_nothing_is_filtered_that_was_not_asked_for(tmp_path, monkeypatch):
    """A filter costs Chroma 50 times the query, so that cells are never one."""
    made = create(client(tmp_path), n=200)
    energy = EnergyCollection(made).build()
    seen = []
    for verb in ("get", "query"):
        original = getattr(Collection, verb)

        def spied(self, *args, _original=original, _verb=verb, **given):
            unasked = {"where", "where_document"} | ({"ids"} if _verb == "query" else set())
            seen.extend(given[name] for name in unasked if given.get(name) is not None)
            return _original(self, *args, **given)

        monkeypatch.setattr(Collection, verb, spied)
    for how in ({}, {"n_probe": 2}, {"candidates": 20}):
        energy.query(query_embeddings=ROWS[:2], n_results=5, **how)
    assert seen == []


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        lambda rows: rows.astype(np.float64),
        lambda rows: rows.tolist(),
        list,
        lambda rows: [row.tolist() for row in rows],
    ],
)
def test_queries_in_every_form_that_chroma_takes(small, form):
    expected = small.query(query_embeddings=ROWS[:2], n_results=3)
    assert small.query(query_embeddings=form(ROWS[:2]), n_results=3) == expected
    one = small.query(query_embeddings=form(ROWS[:2])[0], n_results=3)
    assert one["ids"] == expected["ids"][:1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return EnergyCollection(create(client(tmp_path_factory.mktemp("small")), n=50)).build()


def test_several_databases_and_tenants(tmp_path):
    admin = chromadb.AdminClient(
        chromadb.Settings(is_persistent=True, persist_directory=str(tmp_path))
    )
    admin.create_tenant("other")
    admin.create_database("theirs", tenant="other")
    mine = create(client(tmp_path), n=30)
    theirs = create(
        chromadb.PersistentClient(str(tmp_path), tenant="other", database="theirs"), n=40
    )
    for made in (mine, theirs):
        EnergyCollection(made).build()
    for made, n in ((mine, 30), (theirs, 40)):
        found = EnergyCollection(made).query(query_embeddings=ROWS[:1], n_results=100)
        assert len(found["ids"][0]) == n
    EnergyCollection(theirs).drop()
    assert len(client(tmp_path).list_collections()) == 2


def test_plain_modify_of_an_asynchronous_collection_is_refused_in_time(tmp_path):
    with Server(tmp_path) as server:
        function = OpticalEmbeddingFunction()
        made = server.client().create_collection("pages", embedding_function=function)
        made.add(ids=["a", "b"], documents=DOCUMENTS[:2])
        before = made.configuration_json
        other = OpticalEmbeddingFunction.build_from_config(
            {**function.get_config(), "truncate_dim": 64}
        )

        async def change():
            pages = await (await server.async_client()).get_collection("pages")
            for modify in (pages.modify, AsyncEnergyCollection(pages).modify):
                with pytest.raises(ForeignFieldError, match="reembed"):
                    await modify(configuration={"embedding_function": other})

        asyncio.run(change())
        assert server.client().get_collection("pages").configuration_json == before
        assert view.CELL not in (made.get()["metadatas"][0] or {})
