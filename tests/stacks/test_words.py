"""Words in the stacks: scores that retrievers hand over, and the hybrid search of the host."""

import asyncio

import numpy as np
import pytest
from energy_chroma import EnergyCollection
from energy_haystack import EnergyRanker
from energy_lancedb import EnergyTable
from energy_langchain import EnergyCompressor, EnergyRetriever
from energy_llamaindex import EnergyPostprocessor
from haystack import Document as HaystackDocument
from lancedb.index import FTS
from langchain_core.documents import Document
from langchain_core.embeddings import FakeEmbeddings
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError
from support import stack_data
from support.lancedb_data import embed
from support.stack_data import IDS, QUERY, QUESTION, TEXTS, VECTORS, by_cosine

from energy_plugin.candidates import CandidateRanker, Finder, Hit, HybridHost, as_host
from energy_plugin.energy import EnergyReranker
from energy_plugin.errors import InvalidInputError, NotBuiltError

FIRST = by_cosine(15)
SCORES = np.where(np.arange(15) % 4 == 3, np.arange(15) / 2.0, 0.0)
WORD = TEXTS[int(FIRST[-1])].split()[0]


class Questions(FakeEmbeddings):
    """The rows' embedding of questions."""

    size: int = VECTORS.shape[1]

    def embed_query(self, text):
        return embed([text])[0].tolist()


@pytest.fixture(scope="module")
def worded_chroma(tmp_path_factory):
    made = stack_data.chroma(tmp_path_factory.mktemp("words"), "words")[1]
    return EnergyCollection(made).build(lexical=True)


@pytest.fixture(scope="module")
def worded_lance(tmp_path_factory):
    energy = EnergyTable(stack_data.lance(tmp_path_factory.mktemp("words"))).build()
    energy.create_index("text", config=FTS())
    return energy


def wanted(weight=None):
    found = EnergyReranker().rerank(QUERY, VECTORS[FIRST], lexical=SCORES, lexical_weight=weight)
    return [IDS[FIRST[at]] for at in found.order]


def langchain(**options):
    given = [
        Document(
            page_content=TEXTS[i],
            id=IDS[i],
            metadata={"embedding": VECTORS[i].tolist()} | ({"score": score} if score else {}),
        )
        for i, score in zip(FIRST, SCORES.tolist(), strict=True)
    ]
    compressor = EnergyCompressor(embeddings=Questions(), **options)
    return [each.id for each in compressor.compress_documents(given, QUESTION)]


def llamaindex(**options):
    given = [
        NodeWithScore(
            node=TextNode(text=TEXTS[i], id_=IDS[i], embedding=VECTORS[i].tolist()),
            score=score or None,
        )
        for i, score in zip(FIRST, SCORES.tolist(), strict=True)
    ]
    found = EnergyPostprocessor(**options).postprocess_nodes(
        given, QueryBundle(QUESTION, embedding=QUERY.tolist())
    )
    return [each.node.node_id for each in found]


def haystack(**options):
    given = [
        HaystackDocument(
            id=IDS[i], content=TEXTS[i], embedding=VECTORS[i].tolist(), score=score or None
        )
        for i, score in zip(FIRST, SCORES.tolist(), strict=True)
    ]
    ranker = EnergyRanker(top_k=15, **options)
    assert EnergyRanker.from_dict(ranker.to_dict()).lexical_key == options.get("lexical_key")
    found = ranker.run(QUESTION, given, query_embedding=QUERY.tolist())
    return [each.id for each in found["documents"]]


@pytest.mark.parametrize("stack", [langchain, llamaindex, haystack])
def test_scores_that_a_retriever_hands_over_join_the_ranking(stack):
    plain = [IDS[FIRST[at]] for at in EnergyReranker().rerank(QUERY, VECTORS[FIRST]).order]
    assert wanted() != plain
    assert stack() == plain  # scores mean nothing unless they are named
    assert stack(lexical_key="score") == wanted()
    with pytest.raises(InvalidInputError, match=r"No candidate has the key 'scores'"):
        stack(lexical_key="scores")
    assert stack(lexical_key="score", lexical_weight=1.0) == wanted(1.0)
    assert stack(lexical_key="score", lexical_weight=1.0)[0] == IDS[FIRST[11]]  # 5.5, the best


def test_scores_in_metadata(chroma_store):
    """The other keys of a node and of a document, with the field of a host."""
    lexical = [0, 0, 7.0, 0, 0]
    some = FIRST[:5]
    found = EnergyReranker(chroma_store[1].field).rerank(QUERY, VECTORS[some], lexical=lexical)
    expected = [IDS[some[at]] for at in found.order]
    nodes = [
        NodeWithScore(node=TextNode(text=TEXTS[i], id_=IDS[i], metadata={"bm25": score}))
        for i, score in zip(some, lexical, strict=True)
    ]
    bundle = QueryBundle(QUESTION, embedding=QUERY.tolist())
    ranker = EnergyPostprocessor(host=chroma_store[1], lexical_key="bm25")
    assert [each.node.node_id for each in ranker.postprocess_nodes(nodes, bundle)] == expected
    documents = [
        HaystackDocument(id=IDS[i], content=TEXTS[i], meta={"bm25": score})
        for i, score in zip(some, lexical, strict=True)
    ]
    ranker = EnergyRanker(chroma_store[1], lexical_key="bm25")
    found = ranker.run(QUESTION, documents, query_embedding=QUERY.tolist())["documents"]
    assert [each.id for each in found] == expected


@pytest.mark.parametrize("score", [-1.0, float("nan"), float("inf"), "high", True])
def test_what_is_no_lexical_score_is_refused(score):
    given = [Document(page_content="a", metadata={"embedding": VECTORS[0].tolist(), "bm25": score})]
    compressor = EnergyCompressor(embeddings=Questions(), lexical_key="bm25")
    with pytest.raises(InvalidInputError, match=r"lexical score .* in 'bm25'"):
        compressor.compress_documents(given, QUESTION)


def test_a_retriever_runs_the_hybrid_search_of_chroma(worded_chroma):
    where = {"year": {"$gt": 2004}}
    asked = {"n_results": 6, "where": where, "hybrid": True}
    for weight in (None, 1.0):
        expected = worded_chroma.query(
            query_embeddings=[QUERY], query_texts=[WORD], lexical_weight=weight, **asked
        )
        retriever = EnergyRetriever(
            host=worded_chroma,
            k=6,
            where=where,
            embeddings=Fixed(size=1),
            hybrid=True,
            lexical_weight=weight,
        )
        found = retriever.invoke(WORD)
        assert [each.id for each in found] == expected["ids"][0]
        scores = [-each.metadata["relevance_score"] for each in found]
        np.testing.assert_allclose(scores, expected["distances"][0], atol=1e-6)
        relevance = [each.metadata["relevance"] for each in found]
        np.testing.assert_allclose(relevance, expected["relevance"][0], atol=1e-6)
        assert asyncio.run(retriever.ainvoke(WORD)) == found
    alone = worded_chroma.query(query_embeddings=[QUERY], n_results=6, where=where)
    assert alone["ids"] != expected["ids"]


class Fixed(FakeEmbeddings):
    """One vector, whatever the words."""

    def embed_query(self, text):
        return QUERY.tolist()


@pytest.mark.parametrize("given", [True, False])
def test_a_retriever_runs_the_hybrid_search_of_lancedb(given, worded_lance):
    vector = QUERY if given else embed([WORD])[0]
    rows = (
        worded_lance.search(query_type="hybrid", lexical_weight=0.9)
        .vector(vector)
        .text(WORD)
        .where("year > 2004")
        .limit(6)
        .to_list()
    )
    retriever = EnergyRetriever(
        host=worded_lance,
        k=6,
        where="year > 2004",
        embeddings=Fixed(size=1) if given else None,
        hybrid=True,
        lexical_weight=0.9,
    )
    found = retriever.invoke(WORD)
    assert [each.id for each in found] == [str(row["id"]) for row in rows]
    assert set(found[0].metadata) == {"year", "topic", "relevance_score", "relevance"}
    assert [each.metadata["relevance"] for each in found] == [row["_relevance"] for row in rows]
    plain = worded_lance.search(vector).where("year > 2004").limit(6).to_list()
    assert [row["id"] for row in plain] != [row["id"] for row in rows]
    assert asyncio.run(retriever.ainvoke(WORD)) == found


def open_worded():
    """What a stored pipeline of Haystack calls."""
    return open_worded.host


def of_llamaindex(host, **options):
    from energy_llamaindex import EnergyRetriever as Retriever

    found = Retriever(host, similarity_top_k=6, **options)
    bundle = QueryBundle(WORD, embedding=QUERY.tolist())
    nodes = found.retrieve(bundle)
    assert asyncio.run(found.aretrieve(bundle)) == nodes
    return [(each.node.node_id, each.score, each.node.text, each.node.metadata) for each in nodes]


def of_haystack(host, **options):
    from energy_haystack import EnergyRetriever as Retriever

    open_worded.host = host
    given = {"query_embedding": QUERY.tolist(), "top_k": 6}
    found = Retriever(host, **options).run(WORD, **given)["documents"]
    stored = Retriever.from_dict(Retriever(open_worded, **options).to_dict())
    assert stored.run(WORD, **given)["documents"] == found
    assert asyncio.run(stored.run_async(WORD, **given))["documents"] == found
    return [(each.id, each.score, each.content, each.meta) for each in found]


@pytest.mark.parametrize("stack", [of_llamaindex, of_haystack])
@pytest.mark.parametrize("host", ["worded_chroma", "worded_lance"])
def test_retrievers_of_all_stacks_find_the_same(stack, host, request, monkeypatch):
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", f"{__name__},energy_haystack")
    opened = request.getfixturevalue(host)
    where = "year > 2004" if host == "worded_lance" else {"year": {"$gt": 2004}}
    for options in ({}, {"hybrid": True}, {"hybrid": True, "lexical_weight": 0.9}):
        hits = Finder(opened, **options).find(WORD, 6, where, vector=QUERY)
        expected = [(hit.id, -hit.distance, hit.text, hit.described) for hit in hits]
        assert len(expected) == 6
        assert all(0 <= each[3]["relevance"] <= 1 for each in expected)
        assert stack(opened, where=where, **options) == expected
        least = sorted(hit.relevance for hit in hits)[3]
        kept = [each for each in expected if each[3]["relevance"] >= least]
        assert len(kept) < 6
        assert stack(opened, where=where, min_relevance=least, **options) == kept
    with pytest.raises(InvalidInputError, match="min_relevance must be a number from 0 to 1"):
        stack(opened, min_relevance=2)
    with pytest.raises(InvalidInputError, match="is not hybrid"):
        stack(opened, lexical_weight=0.5)
    with pytest.raises(InvalidInputError, match=r"host must be|got None"):
        stack(None)


def test_retrievers_embed_with_the_model_or_by_the_host(worded_lance):
    from energy_haystack import EnergyRetriever as ForHaystack
    from energy_llamaindex import EnergyRetriever as ForLlamaIndex

    wanted = [str(row["id"]) for row in worded_lance.search(QUERY).limit(3).to_list()]
    nodes = ForLlamaIndex(worded_lance, similarity_top_k=3).retrieve(QUESTION)
    assert [each.node.node_id for each in nodes] == wanted
    found = ForHaystack(worded_lance, top_k=3).run(QUESTION)["documents"]
    assert [each.id for each in found] == wanted


def test_a_least_relevance_needs_a_host_that_tells_it():
    class Silent:
        energy_field = vectors = embed_query = lambda self, *given: None

        def find(self, query, k, where=None):
            return [Hit("a", "text", 0.5)]

    assert Finder(Silent()).find("question", 1)[0].described == {}
    with pytest.raises(InvalidInputError, match=r"Silent gives its hits no relevance"):
        Finder(Silent(), min_relevance=0.5).find("question", 1)


def test_hybrid_settings_that_cannot_work_are_refused(chroma_store, lance_store):
    class Bare:
        energy_field = vectors = embed_query = find = lambda self, *given: None

    with pytest.raises(ValidationError, match="got Bare without a method find_hybrid"):
        EnergyRetriever(host=Bare(), hybrid=True)
    with pytest.raises(ValidationError, match="is not hybrid"):
        EnergyRetriever(host=lance_store, lexical_weight=0.5)
    with pytest.raises(ValidationError, match="lexical_weight"):
        EnergyRetriever(host=lance_store, hybrid=True, lexical_weight=2)
    with pytest.raises(NotBuiltError, match="lexical=True"):
        EnergyRetriever(host=chroma_store[1], embeddings=Questions(), hybrid=True).invoke("river")
    for plain in (chroma_store[1].collection, lance_store.table):
        with pytest.raises(InvalidInputError, match="only supplies its vectors"):
            as_host(plain).find_hybrid("river", 1)
    assert isinstance(as_host(lance_store), HybridHost)
    assert CandidateRanker(lance_store).host.find_hybrid is not None


def test_a_host_of_ones_own_may_search_by_words():
    class Own:
        energy_field = vectors = embed_query = find = lambda self, *given: None

        def find_hybrid(self, text, k, where=None, *, vector=None, lexical_weight=None):
            return [Hit("a", f"{text} {k} {where} {vector} {lexical_weight}", 0.5, {})]

    retriever = EnergyRetriever(host=Own(), hybrid=True, where="x", lexical_weight=0.25)
    assert retriever.invoke("ask")[0].page_content == "ask 4 x None 0.25"
