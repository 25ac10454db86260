"""Hybrid and full-text searches of a table, on its own full-text index."""

import asyncio

import lancedb
import numpy as np
import pytest
from energy_lancedb import AsyncEnergyTable, EnergyReranker, EnergyTable
from lancedb.index import FTS
from lancedb.query import MatchQuery
from lancedb.rerankers import RRFReranker
from support.lancedb_data import embed, ngrams, plain_rows, rows_of, text_schema

from energy_plugin.errors import InvalidInputError

VECTOR = embed(["river quiet river old"])[0]
ODD = ("", "   ", "the of and", "zqxv", '"river" AND -court', '"', "a:b^ ~ (", "\ud800", "\x00")


@pytest.fixture(scope="module")
def energy(tmp_path_factory):
    database = lancedb.connect(tmp_path_factory.mktemp("hybrid"))
    rows = plain_rows(120)
    rows[7]["text"] += " quokka"  # a word whose row no vector finds
    table = database.create_table("pages", rows)
    table.create_index("text", config=FTS())
    return EnergyTable(table).build()


def ids(found):
    return [row["id"] for row in (found if isinstance(found, list) else found.to_list())]


def hybrid(energy, text, **options):
    return energy.search(query_type="hybrid", **options).vector(VECTOR).text(text)


def test_a_row_that_only_words_find_wins(energy):
    before = ids(energy.search(VECTOR).limit(120)).index(7)
    found = hybrid(energy, "quokka").limit(120).with_terms().to_list()
    assert ids(found).index(7) < before
    assert ids(hybrid(energy, "quokka", lexical_weight=0.8).limit(3))[0] == 7
    row = next(one for one in found if one["id"] == 7)
    assert row["_score"] > 0
    assert row["_term_lexical"] < 0
    names = ("_term_lambda", "_term_dispersion", "_term_dirichlet", "_term_lexical")
    for one in found:
        assert sum(one[name] for name in names) == pytest.approx(one["_distance"], abs=1e-5)
    assert any(one["_score"] is None for one in found)  # rows that no word matches are there too


def test_the_scores_are_those_of_the_index_and_the_order_that_of_the_core(energy):
    text = "quiet old river"
    plain = energy.table.search(text, query_type="fts").limit(1000).with_row_id(True).to_arrow()
    snapshot = energy._live.snapshot()
    rows, known = snapshot.find_rowids(plain["_rowid"].to_numpy().astype(np.uint64))
    assert known.all()
    scores = np.zeros((1, len(snapshot.rowids)), dtype=np.float32)
    scores[0, rows] = plain["_score"].to_numpy()
    expected = snapshot.index.search(VECTOR, 10, lexical=scores)
    found = hybrid(energy, text).with_row_id().to_arrow()
    assert found["_rowid"].to_pylist() == snapshot.rowids[expected.ids[0]].tolist()
    np.testing.assert_allclose(found["_distance"], expected.distances[0], rtol=1e-6)
    of = dict(zip(plain["_rowid"].to_pylist(), plain["_score"].to_pylist(), strict=True))
    assert found["_score"].to_pylist() == [of.get(row) for row in found["_rowid"].to_pylist()]


def test_the_weight_of_words(energy):
    by_vector = ids(energy.search(VECTOR).limit(10))
    assert ids(hybrid(energy, "quokka", lexical_weight=0.0).limit(10))[:3] == by_vector[:3]
    assert ids(hybrid(energy, "quokka", lexical_weight=1.0).limit(10))[0] == 7
    with pytest.raises(InvalidInputError, match="lexical_weight"):
        hybrid(energy, "quokka", lexical_weight=2).to_list()


@pytest.mark.parametrize("text", ODD)
def test_odd_questions_are_ranked_by_what_is_there(energy, text):
    found = hybrid(energy, text).limit(5).to_list()
    assert len(found) == 5
    if "river" not in text:
        assert ids(found) == ids(energy.search(VECTOR).limit(5))
    assert isinstance(energy.search(text, query_type="fts").to_list(), list)


def test_filters_offset_and_select(energy):
    every = hybrid(energy, "quiet old river").where("year < 2010").limit(20).to_list()
    assert len(every) == 20
    assert all(row["year"] < 2010 for row in every)
    later = hybrid(energy, "quiet old river").where("year < 2010").offset(5).limit(7)
    assert ids(later.select(["id"])) == ids(every)[5:12]
    assert set(later.select(["id"]).to_arrow().column_names) == {
        "id",
        "_distance",
        "_relevance",
        "_score",
    }
    assert ids(hybrid(energy, "river").where("year < 1900")) == []


@pytest.mark.parametrize("kind", ["vector", "hybrid", "fts"])
def test_postfilter_as_in_lancedb(energy, kind):
    def search():
        if kind == "vector":
            return energy.search(VECTOR)
        return (
            energy.search("river", query_type="fts") if kind == "fts" else hybrid(energy, "river")
        )

    first = search().limit(12).to_list()
    expected = [row["id"] for row in first if row["year"] < 2010]
    assert 0 < len(expected) < 12
    found = search().where("year < 2010", prefilter=False)
    assert ids(found.limit(12)) == expected
    assert ids(found.limit(10).offset(2)) == expected[2:]


def test_full_text_search_is_lancedbs_own(energy):
    plain = energy.table.search("quiet river", query_type="fts").limit(6).to_list()
    found = energy.search("quiet river", query_type="fts").limit(6).to_list()
    assert [row["_score"] for row in found] == [row["_score"] for row in plain]
    assert set(ids(found)[:1]) <= {row["id"] for row in plain}
    assert "_distance" not in found[0]
    assert "energy_lambda" not in found[0]
    assert ids(energy.search(MatchQuery("quokka", "text"))) == [7]
    assert ids(energy.search("quokka")) == [7]  # nothing embeds a text here
    one = energy.search("quokka", query_type="fts").select(["energy_cell", "id"]).to_list()[0]
    by_vector = energy.search(energy.table.search().where("id = 7").to_list()[0]["vector"])
    nearest = by_vector.select(["energy_cell", "id"]).limit(1).to_list()[0]
    assert (nearest["id"], nearest["energy_cell"]) == (7, one["energy_cell"])


def test_without_an_index_the_error_has_the_line_that_makes_one(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(40))
    energy = EnergyTable(table).build()
    for search in (hybrid(energy, "river"), energy.search("river", query_type="fts")):
        remedy = r'energy\.create_index\("text", config=FTS\(\)\)'
        with pytest.raises(InvalidInputError, match=remedy):
            search.to_list()
    energy.create_index("text", config=FTS())
    assert len(hybrid(energy, "river").to_list()) == 10
    with pytest.raises(InvalidInputError, match=r'topic.*create_index\("topic", '):
        hybrid(energy, "river", fts_columns="topic").to_list()
    energy.create_index("topic", config=FTS())
    assert len(hybrid(energy, "river", fts_columns=["text", "topic"]).to_list()) == 10


def test_bad_questions(energy):
    for build, message in (
        (lambda: energy.search(query_type="hybrid").vector(VECTOR).to_list(), r"\.text"),
        (lambda: energy.search(query_type="hybrid").text("a").to_list(), "No embedding function"),
        (lambda: energy.search("a", query_type="words"), "query_type"),
        (lambda: energy.search(VECTOR, query_type="fts"), "takes a text"),
        (lambda: energy.search(VECTOR).text("a"), "hybrid search"),
        (lambda: hybrid(energy, 7), "text must be a str"),
        (energy.search, "query must be"),
        (lambda: hybrid(energy, ["a", "b", "c"]).to_list(), "1 vectors and 3 texts"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            build()


def test_rows_that_the_index_lags_behind(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(60))
    table.create_index("text", config=FTS())
    energy = EnergyTable(table).build()
    (new,) = plain_rows(1, 900)
    energy.add([{**new, "text": new["text"] + " wombat"}])
    table.add([{**new, "id": 901, "text": "numbat", "vector": None}])  # words and no vector
    assert ids(hybrid(energy, "wombat", lexical_weight=0.8).limit(3))[0] == 900
    assert ids(energy.search("numbat", query_type="fts")) == [901]
    assert 901 not in ids(hybrid(energy, "numbat").limit(100))
    energy.optimize()
    assert ids(hybrid(energy, "wombat", lexical_weight=0.8).limit(3))[0] == 900


def test_texts_that_the_table_embeds_and_several_of_them(tmp_path):
    function = ngrams()
    table = lancedb.connect(tmp_path).create_table("pages", schema=text_schema(function))
    table.add(rows_of(60))
    table.create_index("text", config=FTS())
    energy = EnergyTable(table).build()
    text = "river quiet river old"
    one = energy.search(text, query_type="hybrid").limit(5).to_list()
    given = energy.search(query_type="hybrid").vector(function.embed(text)).text(text).limit(5)
    assert ids(one) == ids(given)
    both = energy.search([text, "court rapid"], query_type="hybrid").limit(5).to_list()
    assert ids(both)[:5] == ids(one)
    assert [row["query_index"] for row in both] == [0] * 5 + [1] * 5


def test_another_reranker_gets_both_lists(energy):
    found = hybrid(energy, "quokka").rerank(RRFReranker()).limit(8).to_list()
    assert len(found) == 8
    assert 7 in ids(found)
    scores = [row["_relevance_score"] for row in found]
    assert scores == sorted(scores, reverse=True)
    assert "_rowid" not in found[0]


def test_asynchronous(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(60))
    table.create_index("text", config=FTS())

    async def ask():
        database = await lancedb.connect_async(tmp_path)
        energy = await AsyncEnergyTable(await database.open_table("pages")).build()
        found = energy.search(query_type="hybrid").vector(VECTOR).text("river").limit(4)
        words = energy.search("river", query_type="fts").limit(4)
        return await found.to_list(), await words.to_list(), energy.name

    found, words, _ = asyncio.run(ask())
    energy = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    assert ids(found) == ids(hybrid(energy, "river").limit(4))
    assert [row["_score"] for row in words] == sorted((r["_score"] for r in words), reverse=True)


def test_a_reranker_uses_the_scores_of_words(energy):
    words = "court rapid quokka"
    ranker = EnergyReranker(energy).for_vector(VECTOR)

    def search(kind, reranker):
        query = energy.table.search(words, query_type="fts")
        if kind == "hybrid":
            query = energy.table.search(query_type="hybrid").vector(VECTOR).text(words)
        return query.rerank(reranker).limit(120).to_list()

    for kind in ("hybrid", "fts"):
        found = search(kind, ranker)
        scores = [row["_relevance_score"] for row in found]
        assert scores == sorted(scores, reverse=True)
        assert "_score" not in found[0]
        assert "_distance" not in found[0]
        without = search(kind, EnergyReranker(energy, lexical_weight=0.0).for_vector(VECTOR))
        only = search(kind, EnergyReranker(energy, lexical_weight=1.0).for_vector(VECTOR))
        assert ids(only)[0] == 7 != ids(without)[0]
        assert ids(only).index(7) <= ids(found).index(7) <= ids(without).index(7)


def test_a_reranker_of_candidates_alone_uses_them_too(energy):
    query = energy.table.search("quokka", query_type="fts").limit(1).to_arrow()
    near = energy.table.search(VECTOR).limit(30).with_row_id(True).to_arrow()
    far = energy.table.search("quokka", query_type="fts").with_row_id(True).to_arrow()
    assert query.num_rows == 1
    ranker = EnergyReranker(lexical_weight=0.9).for_vector(VECTOR)
    assert ids(ranker.rerank_hybrid("quokka", near, far).to_pylist())[0] == 7
    assert ids(ranker.rerank_vector("quokka", near).to_pylist())[0] != 7
    nothing = far.slice(0, 0)
    assert ranker.rerank_hybrid("", near, nothing).num_rows == 30
    assert ids(ranker.rerank_hybrid("quokka", near.slice(0, 0), far).to_pylist()) == [7]
    assert ranker.rerank_hybrid("", near.slice(0, 0), nothing).num_rows == 0


def test_relevance_and_distances_cut_a_result(energy):
    every = energy.search(VECTOR).limit(120).to_list()
    expected = energy._live.snapshot().index.search(VECTOR, 120).relevance[0]
    np.testing.assert_allclose([row["_relevance"] for row in every], expected, rtol=1e-6)
    middle = float(np.median(expected))
    found = energy.search(VECTOR).min_relevance(middle).limit(120).to_list()
    assert ids(found) == [row["id"] for row in every if row["_relevance"] >= middle]
    assert 0 < len(found) < 120
    low, high = every[10]["_distance"], every[20]["_distance"]
    between = energy.search(VECTOR).distance_range(low, high).limit(120)
    assert ids(between) == [row["id"] for row in every if low <= row["_distance"] < high]
    assert ids(between.limit(3)) == ids(every[10:13])
    assert all(row["_relevance"] is not None for row in hybrid(energy, "river").to_list())
    with pytest.raises(InvalidInputError, match="min_relevance"):
        energy.search(VECTOR).min_relevance(2)
