"""LlamaIndex, the real one, over Chroma and LanceDB."""

import asyncio

import lancedb
import numpy as np
import pytest
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from energy_llamaindex import EnergyPostprocessor, OpticalEmbedding
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore
from pydantic import PrivateAttr, ValidationError
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, by_cosine, chroma, vector_of

from energy_plugin.energy import EnergyReranker
from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import load_encoder


class Grams(BaseEmbedding):
    """The rows' embedding; the asynchronous methods are told apart."""

    _calls: object = PrivateAttr()
    _awaited: int = PrivateAttr(0)

    def __init__(self, calls):
        super().__init__(model_name="grams")
        self._calls = calls

    def _get_query_embedding(self, query):
        return self._calls.of_query(query)

    def _get_text_embedding(self, text):
        return self._calls.of_documents([text])[0]

    async def _aget_query_embedding(self, query):
        self._awaited += 1
        return self._get_query_embedding(query)

    async def _aget_text_embedding(self, text):
        self._awaited += 1
        return self._get_text_embedding(text)


@pytest.fixture
def grams(calls):
    return Grams(calls)


def nodes(positions, scored=True):
    return [
        NodeWithScore(node=TextNode(text=TEXTS[i], id_=IDS[i]), score=0.5 if scored else None)
        for i in positions
    ]


def names(found):
    return [each.node.node_id for each in found]


def ordered(positions, field=None, k=None):
    ranking = EnergyReranker(field).rerank(QUERY, VECTORS[positions], k=k)
    return [IDS[positions[at]] for at in ranking.order], -ranking.distances


@pytest.mark.parametrize("database", ["chroma", "lance"])
def test_an_index_of_llamaindex_is_reranked(database, tmp_path, grams, calls):
    if database == "chroma":
        made = chroma(tmp_path)[1]
        made.delete(ids=IDS)
        store = ChromaVectorStore(chroma_collection=made)
    else:
        store = LanceDBVectorStore(uri=str(tmp_path), table_name="nodes")
    written = [TextNode(text=text, id_=name) for name, text in zip(IDS, TEXTS, strict=True)]
    index = VectorStoreIndex(
        written,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=grams,
    )
    if database == "chroma":
        host = EnergyCollection(made).build()
        field = host.field
    else:
        host = EnergyTable(lancedb.connect(tmp_path).open_table("nodes")).build()
        field = host.field
    calls.documents.clear()
    calls.queries.clear()
    ranker = EnergyPostprocessor(host=host, embed_model=grams, top_n=5)
    engine = index.as_retriever(similarity_top_k=20)
    bundle = QueryBundle(QUESTION)
    first = engine.retrieve(bundle)
    found = ranker.postprocess_nodes(first, query_bundle=bundle)
    wanted, scores = ordered([int(name) for name in names(first)], field, 5)
    assert names(found) == wanted
    np.testing.assert_allclose([each.score for each in found], scores, atol=1e-6)
    assert calls.documents == []
    assert calls.queries == [QUESTION]  # the bundle keeps its vector
    again = asyncio.run(ranker.apostprocess_nodes(first, query_str=QUESTION))
    assert names(again) == wanted
    assert grams._awaited == 1


def test_node_then_host_then_text(chroma_store, grams, calls):
    given = nodes([0, 8])
    given[0].node.embedding = (-VECTORS[0]).tolist()
    given.append(NodeWithScore(node=TextNode(text="a bridge over the river", id_="unknown")))
    ranker = EnergyPostprocessor(host=chroma_store[1], embed_model=grams)
    found = ranker.postprocess_nodes(given, query_str=QUESTION)
    assert calls.documents == ["a bridge over the river"]
    matrix = np.stack([-VECTORS[0], VECTORS[8], vector_of("a bridge over the river")])
    wanted = EnergyReranker(chroma_store[1].field).rerank(QUERY, matrix)
    assert names(found) == [given[at].node.node_id for at in wanted.order]
    assert asyncio.run(ranker.apostprocess_nodes(given, query_str=QUESTION)) == found
    assert [each.score for each in given] == [0.5, 0.5, None]  # not changed


def test_no_database_and_no_embedding_model(grams, lance_store):
    first = by_cosine(12)
    wanted, _ = ordered(first, k=4)
    ranker = EnergyPostprocessor(embed_model=grams, top_n=4)
    assert names(ranker.postprocess_nodes(nodes(first), query_str=QUESTION)) == wanted
    ranker = EnergyPostprocessor(host=lance_store.table, top_n=4)
    bundle = QueryBundle(QUESTION, embedding=QUERY.tolist())
    assert names(ranker.postprocess_nodes(nodes(first, False), bundle)) == wanted
    ranker = EnergyPostprocessor(host=lance_store, top_n=4)  # embeds the question itself
    wanted, _ = ordered(first, lance_store.field, 4)
    assert names(ranker.postprocess_nodes(nodes(first), query_str=QUESTION)) == wanted
    found = asyncio.run(ranker.apostprocess_nodes(nodes(first), query_str=QUESTION))
    assert names(found) == wanted


def test_edges(chroma_store, grams):
    ranker = EnergyPostprocessor(host=chroma_store[1], embed_model=grams, top_n=99)
    assert ranker.postprocess_nodes([], query_str=QUESTION) == []
    assert asyncio.run(ranker.apostprocess_nodes([], query_str=QUESTION)) == []
    assert len(ranker.postprocess_nodes(nodes([1, 2]), query_str=QUESTION)) == 2
    with pytest.raises(InvalidInputError, match="needs the question"):
        ranker.postprocess_nodes(nodes([1]))
    with pytest.raises(ValidationError, match="top_n"):
        EnergyPostprocessor(top_n=0)
    with pytest.raises(ValueError, match="host must be an EnergyCollection"):
        EnergyPostprocessor(host=3)
    assert EnergyPostprocessor.from_dict(ranker.to_dict()).top_n == 99


def test_optical_embedding_is_that_of_the_encoder():
    model = OpticalEmbedding(truncate_dim=64)
    texts = ["The wing stalls.", "Bread rises because of yeast.", "Lift depends on air speed."]
    expected = load_encoder("compact").encode_document(texts, truncate_dim=64)
    np.testing.assert_allclose(model.get_text_embedding_batch(texts), expected, atol=1e-6)
    np.testing.assert_allclose(model.get_text_embedding(texts[1]), expected[1], atol=1e-5)
    query = load_encoder("compact").encode_query("lift of a wing", truncate_dim=64)
    np.testing.assert_allclose(model.get_query_embedding("lift of a wing"), query, atol=1e-6)

    async def awaited():
        return (
            await model.aget_query_embedding("lift of a wing"),
            await model.aget_text_embedding(texts[1]),
            await model.aget_text_embedding_batch(texts),
        )

    one, two, three = asyncio.run(awaited())
    np.testing.assert_allclose(one, query, atol=1e-6)
    np.testing.assert_allclose(two, expected[1], atol=1e-5)
    np.testing.assert_allclose(three, expected, atol=1e-5)
    assert OpticalEmbedding.from_dict(model.to_dict()).truncate_dim == 64
