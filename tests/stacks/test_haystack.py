"""Haystack, the real one, over Chroma and LanceDB."""

import asyncio
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from energy_haystack import EnergyRanker, OpticalDocumentEmbedder, OpticalTextEmbedder
from haystack import Document, Pipeline, component
from haystack.core.errors import DeserializationError, SerializationError
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, by_cosine, vector_of

from energy_plugin.energy import EnergyReranker
from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import load_encoder


@component
class Questions:
    """The rows' embedding, with an asynchronous method."""

    def __init__(self, calls=None):
        self.calls = calls
        self.awaited = 0

    @component.output_types(embedding=list[float])
    def run(self, text: str):
        return {"embedding": self.calls.of_query(text)}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str):
        self.awaited += 1
        return self.run(text)


@component
class Texts:
    """The rows' embedding, without an asynchronous method."""

    def __init__(self, calls=None):
        self.calls = calls

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]):
        vectors = self.calls.of_documents([each.content for each in documents])
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(each, embedding=vector) for each, vector in pairs]}


def documents(positions, **fields):
    return [Document(id=IDS[i], content=TEXTS[i], **fields) for i in positions]


def names(result):
    return [each.id for each in result["documents"]]


def ordered(positions, field=None, k=None):
    ranking = EnergyReranker(field).rerank(QUERY, VECTORS[positions], k=k)
    return [IDS[positions[at]] for at in ranking.order], -ranking.distances


def test_a_pipeline_over_a_chroma_store(chroma_store, tmp_path):
    retrievers = pytest.importorskip("haystack_integrations.components.retrievers.chroma")
    stores = pytest.importorskip("haystack_integrations.document_stores.chroma")
    store = stores.ChromaDocumentStore(
        "pages", persist_path=str(tmp_path), distance_function="cosine"
    )
    given = documents(range(len(IDS)))
    pairs = zip(given, VECTORS, strict=True)
    store.write_documents([replace(each, embedding=vector.tolist()) for each, vector in pairs])
    energy = chroma_store[1]  # holds the same rows
    retriever = retrievers.ChromaEmbeddingRetriever(store, top_k=20)
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    pipeline.add_component("ranker", EnergyRanker(host=energy, top_k=5))
    pipeline.connect("retriever.documents", "ranker.documents")
    asked = {"query": QUESTION, "query_embedding": QUERY.tolist()}
    found = pipeline.run({"retriever": {"query_embedding": QUERY.tolist()}, "ranker": asked})[
        "ranker"
    ]
    first = retriever.run(query_embedding=QUERY.tolist())["documents"]
    wanted, scores = ordered([int(each.id) for each in first], energy.field, 5)
    assert names(found) == wanted
    np.testing.assert_allclose([each.score for each in found["documents"]], scores, atol=1e-6)
    # Chroma's own retriever runs asynchronously against a server only
    pipeline = Pipeline()
    pipeline.add_component("ranker", EnergyRanker(host=energy, top_k=5))
    again = asyncio.run(pipeline.run_async({"ranker": {**asked, "documents": first}}))
    assert again["ranker"] == found


def test_a_lance_table_lends_vectors_by_id(lance_store):
    first = by_cosine(12)
    for host, field in ((lance_store, lance_store.field), (lance_store.table, None)):
        ranker = EnergyRanker(host=host, top_k=4)
        wanted, _ = ordered(first, field, 4)
        asked = {"query": QUESTION, "documents": documents(first)}
        assert names(ranker.run(**asked, query_embedding=QUERY.tolist())) == wanted
        found = asyncio.run(ranker.run_async(**asked, query_embedding=QUERY.tolist()))
        assert names(found) == wanted
    ranker = EnergyRanker(host=lance_store)  # embeds the question itself
    wanted, _ = ordered(first, lance_store.field, 3)
    assert names(ranker.run(**asked, top_k=3)) == wanted
    assert names(asyncio.run(ranker.run_async(**asked, top_k=3))) == wanted


def test_document_then_host_then_text(chroma_store, calls):
    given = documents([0, 8])
    given[0] = replace(given[0], embedding=(-VECTORS[0]).tolist())
    given.append(Document(id="unknown", content="a bridge over the river"))
    questions = Questions(calls)
    ranker = EnergyRanker(chroma_store[1], text_embedder=questions, document_embedder=Texts(calls))
    found = ranker.run(query=QUESTION, documents=given)
    assert calls.documents == ["a bridge over the river"]
    assert calls.queries == [QUESTION]
    matrix = np.stack([-VECTORS[0], VECTORS[8], vector_of("a bridge over the river")])
    wanted = EnergyReranker(chroma_store[1].field).rerank(QUERY, matrix)
    assert names(found) == [given[at].id for at in wanted.order]
    assert asyncio.run(ranker.run_async(query=QUESTION, documents=given)) == found
    assert questions.awaited == 1
    assert [each.score for each in given] == [None] * 3  # not changed


def test_documents_of_one_id_count_once(chroma_store):
    given = [
        *documents([3, 4], score=0.1),
        Document(id="3", content="the better copy", score=0.9),
        Document(id="3", content="without a score"),
    ]
    found = EnergyRanker(chroma_store[1]).run(QUESTION, given, query_embedding=QUERY.tolist())
    assert sorted(names(found)) == ["3", "4"]
    assert "the better copy" in {each.content for each in found["documents"]}


def test_it_is_stored_and_restored(chroma_store, monkeypatch):
    """The host as the path of the function that opens it, the embedders as components."""
    module = ModuleType("my_hosts")
    exec("opened = []\ndef open_host():\n    opened.append(1)\n    return energy", vars(module))
    module.energy = chroma_store[1]
    monkeypatch.setitem(sys.modules, "my_hosts", module)
    ranker = EnergyRanker(
        module.open_host,
        text_embedder=OpticalTextEmbedder(truncate_dim=48),
        top_k=3,
        id_column="key",
    )
    data = ranker.to_dict()
    assert data["init_parameters"]["host"] == "my_hosts.open_host"
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    stored = pipeline.dumps()
    assert module.opened == []
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "energy_haystack")
    with pytest.raises(DeserializationError, match="my_hosts"):  # Haystack asks before it imports
        Pipeline.loads(stored)
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "my_hosts,energy_haystack")
    again = Pipeline.loads(stored).get_component("ranker")
    assert again.to_dict() == data
    assert again.text_embedder.to_dict() == ranker.text_embedder.to_dict()
    assert module.opened == []
    first = by_cosine(8)
    found = again.run(QUESTION, documents(first), query_embedding=QUERY.tolist())
    assert module.opened == [1]
    assert names(found) == ordered(first, chroma_store[1].field, 3)[0]
    again.warm_up()
    assert module.opened == [1]
    with pytest.raises(InvalidInputError, match="An open EnergyCollection cannot be stored"):
        EnergyRanker(chroma_store[1]).to_dict()
    with pytest.raises(SerializationError, match="lambda"):
        EnergyRanker(lambda: None).to_dict()


def test_edges(chroma_store):
    ranker = EnergyRanker(chroma_store[1])
    assert ranker.run(QUESTION, []) == {"documents": []}
    assert asyncio.run(ranker.run_async(QUESTION, [])) == {"documents": []}
    with pytest.raises(InvalidInputError, match="top_k"):
        EnergyRanker(top_k=0)
    with pytest.raises(InvalidInputError, match="host must be"):
        EnergyRanker(host=3)
    with pytest.raises(InvalidInputError, match="cannot be embedded without a model"):
        EnergyRanker().run(QUESTION, documents([1]))


def test_optical_embedders_are_the_encoder():
    given = [
        Document(content="The wing stalls.", meta={"title": "Wings"}),
        Document(content="Bread rises.", meta={"title": None}),
    ]
    embedder = OpticalDocumentEmbedder(truncate_dim=64, meta_fields_to_embed=["title"])
    embedder.warm_up()
    texts = ["Wings\nThe wing stalls.", "Bread rises."]
    expected = load_encoder("compact").encode_document(texts, truncate_dim=64)
    found = embedder.run(documents=given)["documents"]
    np.testing.assert_allclose([each.embedding for each in found], expected, atol=1e-6)
    assert [each.embedding for each in given] == [None, None]
    assert [each.id for each in found] == [each.id for each in given]
    assert asyncio.run(embedder.run_async(documents=given))["documents"] == found
    assert embedder.run(documents=[]) == {"documents": []}
    assert OpticalDocumentEmbedder.from_dict(embedder.to_dict()).to_dict() == embedder.to_dict()

    asker = OpticalTextEmbedder()
    query = load_encoder("compact").encode_query("lift")
    np.testing.assert_allclose(asker.run("lift")["embedding"], query, atol=1e-6)
    assert asyncio.run(asker.run_async("lift")) == asker.run("lift")
    ranker = EnergyRanker(text_embedder=asker, document_embedder=OpticalDocumentEmbedder(), top_k=1)
    found = ranker.run("the wing of an aircraft stalls", given)
    assert found["documents"][0].content == "The wing stalls."
