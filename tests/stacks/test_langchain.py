"""LangChain, the real one, over Chroma and LanceDB."""

import asyncio

import numpy as np
import pytest
from energy_chroma import EnergyCollection
from energy_langchain import EnergyCompressor, EnergyRetriever, OpticalEmbeddings
from langchain_chroma import Chroma
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from pydantic import ValidationError
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, by_cosine, vector_of

from energy_plugin.energy import EnergyReranker
from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import load_encoder

FLIPPED = (-VECTORS[0]).tolist()


class Grams(Embeddings):
    """The rows' embedding; the asynchronous methods are told apart."""

    def __init__(self, calls):
        self.calls = calls
        self.awaited = 0

    def embed_documents(self, texts):
        return self.calls.of_documents(texts)

    def embed_query(self, text):
        return self.calls.of_query(text)

    async def aembed_documents(self, texts):
        self.awaited += 1
        return self.embed_documents(texts)

    async def aembed_query(self, text):
        self.awaited += 1
        return self.embed_query(text)


@pytest.fixture
def grams(calls):
    return Grams(calls)


@pytest.fixture
def store(chroma_store, grams):
    client, energy = chroma_store
    return Chroma(collection_name=energy.name, client=client, embedding_function=grams)


def documents(positions):
    return [Document(page_content=TEXTS[i], id=IDS[i], metadata={"at": i}) for i in positions]


def names(found):
    return [document.id for document in found]


def test_a_chroma_store_is_reranked_on_the_field(store, chroma_store, grams, calls):
    retriever = ContextualCompressionRetriever(
        base_compressor=EnergyCompressor(host=chroma_store[1], embeddings=grams, top_n=5),
        base_retriever=store.as_retriever(search_kwargs={"k": 20}),
    )
    found = retriever.invoke(QUESTION)
    first = store.similarity_search(QUESTION, k=20)
    positions = [int(document.id) for document in first]
    wanted = EnergyReranker(chroma_store[1].field).rerank(QUERY, VECTORS[positions], k=5)
    assert names(found) == [first[at].id for at in wanted.order]
    scores = [document.metadata["relevance_score"] for document in found]
    np.testing.assert_allclose(scores, -wanted.distances, atol=1e-6)
    assert {document.metadata["topic"] for document in found} == {"river"}
    assert calls.documents == []  # the host had every vector
    assert asyncio.run(retriever.ainvoke(QUESTION)) == found
    assert grams.awaited == 1  # the store's own asynchronous search embeds in a thread


@pytest.mark.parametrize("built", [True, False])
def test_a_lance_table_lends_vectors_by_id(built, lance_store, grams, calls):
    host = lance_store if built else lance_store.table
    compressor = EnergyCompressor(host=host, embeddings=grams, top_n=6)
    first = by_cosine(15)
    found = compressor.compress_documents(documents(first), QUESTION)
    field = lance_store.field if built else None
    wanted = EnergyReranker(field).rerank(QUERY, VECTORS[first], k=6)
    assert names(found) == [IDS[first[at]] for at in wanted.order]
    assert calls.documents == []


def test_document_then_host_then_text(chroma_store, grams, calls):
    """A vector in the metadata wins over the host's; only the unknown text is embedded."""
    given = documents([0, 8])
    given[0].metadata["embedding"] = FLIPPED
    given.append(Document(page_content="a bridge over the river", id="unknown"))
    given.append(Document(page_content="a narrow river"))
    compressor = EnergyCompressor(host=chroma_store[1], embeddings=grams)
    found = compressor.compress_documents(given, QUESTION)
    texts = ["a bridge over the river", "a narrow river"]
    assert calls.documents == texts
    matrix = np.stack([FLIPPED, VECTORS[8], *(vector_of(text) for text in texts)])
    wanted = EnergyReranker(chroma_store[1].field).rerank(QUERY, matrix)
    assert [each.page_content for each in found] == [given[at].page_content for at in wanted.order]
    again = asyncio.run(compressor.acompress_documents(given, QUESTION))
    assert again == found
    assert grams.awaited == 2


def test_no_database_is_needed(grams):
    first = by_cosine(20)
    found = EnergyCompressor(embeddings=grams).compress_documents(documents(first), QUESTION)
    wanted = EnergyReranker().rerank(QUERY, VECTORS[first])
    assert names(found) == [IDS[first[at]] for at in wanted.order]


def test_the_question_is_embedded_by_the_host_where_nothing_else_is_given(lance_store):
    first = documents(by_cosine(10))
    found = EnergyCompressor(host=lance_store, top_n=3).compress_documents(first, QUESTION)
    grams = [vector_of(QUESTION)]
    wanted = EnergyReranker(lance_store.field).rerank(grams[0], VECTORS[by_cosine(10)], k=3)
    assert names(found) == [first[at].id for at in wanted.order]
    found = asyncio.run(
        EnergyCompressor(host=lance_store, top_n=3).acompress_documents(first, QUESTION)
    )
    assert names(found) == [first[at].id for at in wanted.order]


def test_what_comes_in_is_not_changed(chroma_store, grams):
    given = documents(by_cosine(5))
    before = [each.model_copy(deep=True) for each in given]
    compressor = EnergyCompressor(host=chroma_store[1], embeddings=grams, top_n=99)
    assert len(compressor.compress_documents(given, QUESTION)) == 5
    assert given == before
    assert compressor.compress_documents([], QUESTION) == []
    assert asyncio.run(compressor.acompress_documents([], QUESTION)) == []


def test_bad_settings_are_refused(chroma_store):
    with pytest.raises(ValidationError, match="top_n"):
        EnergyCompressor(top_n=0)
    with pytest.raises(ValidationError, match="host must be an EnergyCollection"):
        EnergyCompressor(host=3)
    with pytest.raises(ValidationError, match="got None"):
        EnergyRetriever(host=None)
    with pytest.raises(InvalidInputError, match="cannot be embedded without a model"):
        EnergyCompressor().compress_documents(documents([1]), QUESTION)


def test_the_retriever_finds_what_the_host_finds(chroma_store, lance_store, grams):
    energy = chroma_store[1]
    retriever = EnergyRetriever(host=energy, k=6, embeddings=grams, where={"year": {"$gt": 2004}})
    found = retriever.invoke(QUESTION)
    wanted = energy.query(query_embeddings=[QUERY], n_results=6, where={"year": {"$gt": 2004}})
    assert names(found) == wanted["ids"][0]
    assert [each.page_content for each in found] == wanted["documents"][0]
    scores = [-each.metadata["relevance_score"] for each in found]
    np.testing.assert_allclose(scores, wanted["distances"][0], atol=1e-6)
    assert asyncio.run(retriever.ainvoke(QUESTION)) == found

    retriever = EnergyRetriever(host=lance_store, k=6, where="topic = 'river'")
    found = retriever.invoke(QUESTION)
    rows = lance_store.search(QUESTION).where("topic = 'river'").limit(6).to_list()
    assert names(found) == [str(row["id"]) for row in rows]
    assert {each.metadata["topic"] for each in found} == {"river"}
    assert asyncio.run(retriever.ainvoke(QUESTION)) == found


def test_optical_embeddings_are_those_of_the_encoder(tmp_path):
    embeddings = OpticalEmbeddings(truncate_dim=64)
    texts = ["The wing stalls.", "Bread rises because of yeast.", "Lift depends on air speed."]
    expected = load_encoder("compact").encode_document(texts, truncate_dim=64)
    np.testing.assert_allclose(embeddings.embed_documents(texts), expected, atol=1e-6)
    query = load_encoder("compact").encode_query("lift of a wing", truncate_dim=64)
    np.testing.assert_allclose(embeddings.embed_query("lift of a wing"), query, atol=1e-6)
    assert embeddings.embed_documents([]) == []
    assert asyncio.run(embeddings.aembed_query("lift")) == embeddings.embed_query("lift")
    with pytest.raises(InvalidInputError, match="batch_size"):
        OpticalEmbeddings(batch_size=0)
    # a store of LangChain's own, embedded and reranked
    store = Chroma("notes", OpticalEmbeddings(), persist_directory=str(tmp_path))
    store.add_texts(texts, ids=["a", "b", "c"])
    energy = EnergyCollection(store._collection).build()
    retriever = ContextualCompressionRetriever(
        base_compressor=EnergyCompressor(host=energy, embeddings=OpticalEmbeddings(), top_n=2),
        base_retriever=store.as_retriever(search_kwargs={"k": 3}),
    )
    assert set(names(retriever.invoke("lift of a wing"))) == {"a", "c"}
