"""The rerankers of both hosts score what ``energy-plugin eval --rerank`` prints.

Documents are descriptions out of Python's own library. The question of every fourth of them is its
last sentence: the answer that counts is the document itself.
"""

import chromadb
import energy_chroma
import energy_lancedb
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from support.lancedb_data import ngrams

from energy_plugin.energy import EnergyIndex
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import measure
from energy_plugin.evaluation.rankers import rankers
from energy_plugin.evaluation.reference_docs import collect
from energy_plugin.evaluation.vectors import CollectionVectors

CANDIDATES = 60
SAME = 0.95  # of all places; near ties fall either way (.975 and more were the same)
FOUND = 0.98  # of the candidates; Chroma's graph, built by several threads, may miss a row or two


@pytest.fixture(scope="module")
def judged():
    texts = [doc.text for doc in collect(600)]
    asked = {i: text.rstrip(".").split(". ")[-1] for i, text in enumerate(texts) if i % 4 == 0}
    embed = ngrams(dim=96).generate_embeddings
    collection = JudgedCollection(
        name="library",
        corpus={str(i): text for i, text in enumerate(texts)},
        queries={f"q{i}": text for i, text in asked.items()},
        qrels={f"q{i}": {str(i): 1} for i in asked},
    )
    vectors = CollectionVectors(
        np.stack(embed(texts)).astype(np.float32),
        np.stack(embed(list(asked.values()))).astype(np.float32),
    )
    return collection, vectors


@pytest.fixture(scope="module")
def in_chroma(judged, tmp_path_factory):
    vectors = judged[1].corpus
    made = chromadb.PersistentClient(str(tmp_path_factory.mktemp("chroma"))).create_collection(
        "library",
        embedding_function=None,
        # as wide as the collection: the candidates are to be those of exact cosine
        configuration={"hnsw": {"space": "cosine", "ef_search": 600}},
    )
    made.add(ids=[str(i) for i in range(len(vectors))], embeddings=list(vectors))
    return made


@pytest.fixture(scope="module")
def in_lancedb(judged, tmp_path_factory):
    vectors = judged[1].corpus
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    rows = pa.table({"id": np.arange(len(vectors)), "vector": column})
    return lancedb.connect(tmp_path_factory.mktemp("lancedb")).create_table("library", rows)


def by_chroma(made, queries):
    found = made.query(query_embeddings=list(queries), n_results=CANDIDATES)
    got = energy_chroma.EnergyReranker(made).rerank(found, queries)
    return np.array(got["ids"]).astype(np.int64)


def by_lancedb(table, queries):
    ranker = energy_lancedb.EnergyReranker(table)
    found = []
    for query in queries:
        search = table.search(query).distance_type("cosine").limit(CANDIDATES)
        ranked = search.rerank(ranker.for_vector(query), query_string="").to_arrow()
        found.append(ranked["id"].to_numpy())
    return np.stack(found)


def values(collection, rows):
    return {name: each.mean() for name, each in measure(collection, rows).per_query.items()}


def expected(judged, name):
    rows = rankers(rerank_first=CANDIDATES)[name](judged[1], CANDIDATES).rows
    return values(judged[0], rows), rows


def agree(rows, order):
    """Nearly the same candidates, and of those that both have nearly the same order."""
    both = [(a[np.isin(a, b)], b[np.isin(b, a)]) for a, b in zip(rows, order, strict=True)]
    assert np.mean([len(a) for a, _ in both]) > FOUND * CANDIDATES
    assert np.mean(np.concatenate([a == b for a, b in both])) > SAME


def test_without_a_field(judged, in_chroma, in_lancedb):
    scores, order = expected(judged, "rerank, candidates")
    plain, _ = expected(judged, "cosine")
    assert scores["ndcg@10"] != plain["ndcg@10"]
    for rank, host in ((by_chroma, in_chroma), (by_lancedb, in_lancedb)):
        rows = rank(host, judged[1].queries)
        agree(rows, order)
        assert values(judged[0], rows) == pytest.approx(scores, abs=2e-3)


def test_with_a_field(judged, in_chroma, in_lancedb):
    collection, vectors = judged
    energy_chroma.EnergyCollection(in_chroma).build(row_columns=False)
    energy_lancedb.EnergyTable(in_lancedb).build()
    index = EnergyIndex.fit(vectors.corpus)
    candidates = rankers()["cosine"](vectors, CANDIDATES).rows
    order = np.stack(
        [
            index.search(query, CANDIDATES, rows=np.sort(rows)).ids[0]
            for query, rows in zip(vectors.queries, candidates, strict=True)
        ]
    )
    scores = values(collection, order)
    for rank, host in ((by_chroma, in_chroma), (by_lancedb, in_lancedb)):
        rows = rank(host, vectors.queries)
        agree(rows, order)
        assert values(collection, rows) == pytest.approx(scores, abs=2e-3)
