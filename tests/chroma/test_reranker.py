"""Reranking what Chroma's own query found."""

import asyncio

import numpy as np
import pytest
from energy_chroma import AsyncEnergyReranker, EnergyCollection, EnergyReranker
from support.chroma_cases import GramEmbedding, client, create, texts, vectors

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy import EnergyReranker as Core
from energy_plugin.errors import InvalidInputError

QUERIES = vectors(4, seed=1)
ROWS = vectors(300)
EVERYTHING = ["embeddings", "metadatas", "documents", "distances", "uris"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A collection without a field."""
    return create(client(tmp_path_factory.mktemp("plain")), name="plain")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = create(client(tmp_path_factory.mktemp("built")))
    EnergyCollection(made).build()
    return made


def ask(made, include=None, n_results=40, **filters):
    return made.query(
        query_embeddings=QUERIES,
        n_results=n_results,
        include=include or ["metadatas", "documents", "distances"],
        **filters,
    )


def rows_of(names):
    return ROWS[[int(name[1:]) for name in names]]


def test_by_the_field_and_its_columns(built):
    """As the index ranks these rows alone, whatever else is in it."""
    found = ask(built)
    energy = EnergyCollection(built)
    got = EnergyReranker(built).rerank(found, QUERIES)
    live = energy._keeper.open()
    for query, names, ids, distances in zip(
        QUERIES, found["ids"], got["ids"], got["distances"], strict=True
    ):
        columns = live.columns_of(live.rows.numbers(names))
        expected = EnergyIndex.from_columns(energy.field, columns).search(query, len(names))
        assert ids == [names[place] for place in expected.ids[0]]
        np.testing.assert_allclose(distances, expected.distances[0], atol=1e-6)
    assert got["ids"] != found["ids"]
    same = energy.query(query_embeddings=QUERIES, n_results=40, candidates=40)
    assert got["ids"] == same["ids"]


def test_by_the_field_with_a_configuration_of_ones_own(built):
    found = ask(built)
    energy = EnergyCollection(built)
    config = EnergyConfig(weight_lambda=0.5)
    got = EnergyReranker(built, config=config).rerank(found, QUERIES)
    core = Core(energy.field, config)
    live = energy._keeper.open()
    for query, names, ids in zip(QUERIES, found["ids"], got["ids"], strict=True):
        columns = live.columns_of(live.rows.numbers(names))
        assert ids == [names[place] for place in core.rerank(query, None, columns=columns).order]
    assert got["ids"] != EnergyReranker(built).rerank(found, QUERIES)["ids"]


def test_on_the_candidates_alone(plain):
    found = ask(plain, ["embeddings"])
    got = EnergyReranker().rerank(found, QUERIES)
    for query, names, ids, scores in zip(
        QUERIES, found["ids"], got["ids"], got["scores"], strict=True
    ):
        expected = Core().rerank(query, rows_of(names))
        assert ids == [names[place] for place in expected.order]
        np.testing.assert_allclose(scores, -expected.distances, atol=1e-6)
    # without embeddings in the result they are fetched
    fetched = EnergyReranker(plain).rerank(ask(plain), QUERIES)
    assert fetched["ids"] == got["ids"]


@pytest.mark.parametrize("include", [["distances"], ["embeddings", "uris"], EVERYTHING])
@pytest.mark.parametrize("where", [None, {"n": {"$gt": 280}}, {"n": -1}])
def test_the_shape_stays_and_every_field_moves_along(built, include, where):
    found = ask(built, include, where=where)
    got = EnergyReranker(built).rerank(found, QUERIES)
    assert list(got) == [*found, "scores", "energies"]
    assert got["included"] == found["included"]
    for key, value in found.items():
        assert type(got[key]) is type(value), key
    assert [sorted(line) for line in got["ids"]] == [sorted(line) for line in found["ids"]]
    for line, scores, energies in zip(got["ids"], got["scores"], got["energies"], strict=True):
        assert scores == sorted(scores, reverse=True)
        sums = [-sum(terms.values()) for terms in energies]
        np.testing.assert_allclose(sums, scores, atol=1e-6)
        assert len(line) == len(scores)
    if "documents" in include:
        for ids, documents, metadatas in zip(
            got["ids"], got["documents"], got["metadatas"], strict=True
        ):
            assert [document.split()[1] for document in documents] == [name[1:] for name in ids]
            assert [metadata["n"] for metadata in metadatas] == [int(name[1:]) for name in ids]
    if "embeddings" in include:
        for ids, embeddings in zip(got["ids"], got["embeddings"], strict=True):
            assert isinstance(embeddings, np.ndarray)
            if ids:
                np.testing.assert_allclose(embeddings, rows_of(ids), atol=1e-6)


def test_n_results_keeps_the_nearest(built):
    found = ask(built)
    whole = EnergyReranker(built).rerank(found, QUERIES)
    some = EnergyReranker(built).rerank(found, QUERIES, n_results=3)
    assert some["ids"] == [line[:3] for line in whole["ids"]]
    assert found["ids"] == ask(built)["ids"]  # the input is as it was


def test_the_nearest_of_few_candidates_is_the_row_itself(plain, built):
    for made in (plain, built):
        found = made.query(query_embeddings=ROWS[[7, 80]], n_results=25)
        got = EnergyReranker(made).rerank(found, ROWS[[7, 80]])
        assert [line[0] for line in got["ids"]] == ["r7", "r80"]


def test_texts_are_embedded_by_the_collection(tmp_path):
    documents = texts(90)
    made = client(tmp_path).create_collection("texts", embedding_function=GramEmbedding())
    made.add(ids=[f"t{i}" for i in range(90)], documents=documents)
    found = made.query(query_texts=documents[:2], n_results=20)
    for ranker in (
        EnergyReranker(made),
        EnergyReranker(EnergyCollection(made).build()),
        EnergyReranker(made),
    ):
        by_text = ranker.rerank(found, documents[:2])
        by_vector = ranker.rerank(found, GramEmbedding()(documents[:2]))
        assert by_text == by_vector
        assert [line[0] for line in by_text["documents"]] == documents[:2]
    one = made.query(query_texts=[documents[5]], n_results=20)
    assert EnergyReranker(made).rerank(one, documents[5])["documents"][0][0] == documents[5]


def test_rows_that_changed_are_ranked_by_their_present_vector(tmp_path):
    made = create(client(tmp_path), n=100)
    EnergyCollection(made).build()
    ranker = EnergyReranker(made)
    ranker.rerank(ask(made), QUERIES)
    made.update(ids=["r5"], embeddings=QUERIES[:1])
    made.add(ids=["new"], embeddings=QUERIES[1:2])
    made.delete(ids=["r9"])
    got = ranker.rerank(ask(made, n_results=99), QUERIES)
    assert got["ids"][0][0] == "r5"
    assert got["ids"][1][0] == "new"
    # a result that is older than the deletion
    old = ask(made, n_results=99)
    made.delete(ids=["r5"])
    assert "r5" not in ranker.rerank(old, QUERIES)["ids"][0]


def test_a_configuration_of_ones_own(plain):
    found = ask(plain, ["embeddings"])
    still = EnergyReranker(config=EnergyConfig(local_heat=0.0, query_heat=0.0))
    default = EnergyReranker().rerank(found, QUERIES)
    assert still.rerank(found, QUERIES)["distances"] is None
    assert still.rerank(found, QUERIES)["scores"] != default["scores"]


@pytest.mark.parametrize(
    ("result", "query", "message"),
    [
        ("found", QUERIES[:2], "hits of 4 queries, got 2"),
        ("found", "text", "embeds them"),
        ("found", [[1.0] * 24, [float("nan")] * 24] * 2, "NaN|finite"),
        ("found", [[1.0], [1.0, 2.0]], "query"),
        ("got", QUERIES, "collection.query"),
        ([], QUERIES, "collection.query"),
        ("bare", QUERIES, "has no embeddings"),
    ],
)
def test_wrong_arguments_are_refused(plain, result, query, message):
    results = {
        "found": lambda: ask(plain, ["embeddings"]),
        "bare": lambda: ask(plain),
        "got": lambda: plain.get(limit=3),
    }
    given = results[result]() if isinstance(result, str) else result
    with pytest.raises(InvalidInputError, match=message):
        EnergyReranker().rerank(given, query)


def test_wrong_collections_are_refused():
    with pytest.raises(InvalidInputError, match="EnergyCollection"):
        EnergyReranker("docs")
    with pytest.raises(InvalidInputError, match="config"):
        EnergyReranker(config={"bits": 4})


def test_awaited_without_a_collection(plain):
    found = ask(plain, ["embeddings"])
    got = asyncio.run(AsyncEnergyReranker().rerank(found, QUERIES))
    assert got["scores"] == EnergyReranker().rerank(found, QUERIES)["scores"]
