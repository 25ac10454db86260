"""EnergyReranker on the candidates alone, and of tables with several columns or searches."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyReranker, EnergyTable
from lancedb.index import FTS
from support.lancedb_data import embed, ngrams, plain_rows, plain_schema, rows_of, text_schema

from energy_plugin.energy import EnergyReranker as CoreReranker
from energy_plugin.errors import InvalidInputError

N = 150
QUERY = "river quiet river rapid river"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return lancedb.connect(tmp_path_factory.mktemp("alone"))


def searchable(database, name):
    table = database.create_table(name, schema=text_schema(ngrams()))
    table.add(rows_of(N))
    table.create_index("text", config=FTS())
    return table


@pytest.fixture(scope="module")
def bare(database):
    return searchable(database, "bare")


def alone(vectors, query):
    found = CoreReranker().rerank(query, vectors)
    return found.order, -found.distances


def test_a_table_without_a_field(bare):
    vector = embed([QUERY])[0]
    plain = bare.search(vector).limit(40).to_arrow()
    order, scores = alone(np.stack(plain["vector"].to_numpy(zero_copy_only=False)), vector)
    for ranker, query in (
        (EnergyReranker(bare), bare.search(QUERY)),
        (EnergyReranker(bare).for_vector(vector), bare.search(vector)),
        (EnergyReranker(embed=lambda text: embed([text])[0]), bare.search(QUERY)),
        (EnergyReranker(column="vector").for_vector(vector), bare.search(vector)),
    ):
        result = query.limit(40).rerank(ranker, query_string=QUERY).to_arrow()
        assert result["id"].to_pylist() == plain["id"].take(pa.array(order)).to_pylist()
        np.testing.assert_allclose(result["_relevance_score"].to_numpy(), scores, atol=1e-6)


def test_full_text_and_hybrid_without_a_field(bare):
    ranker = EnergyReranker(bare, return_score="all", top_k=5)
    text = bare.search(QUERY, query_type="fts").limit(30).rerank(ranker).to_arrow()
    assert text.num_rows == 5
    assert "_score" in text.column_names
    both = bare.search(QUERY, query_type="hybrid").limit(20).rerank(ranker).to_arrow()
    assert {"_distance", "_score"} <= set(both.column_names)
    for result in (text, both):
        assert np.all(np.diff(result["_relevance_score"].to_numpy()) <= 0)
        assert set(result["topic"].to_pylist()) == {"river"}


def test_a_field_that_is_built_later_is_used(database):
    table = database.create_table("later", plain_rows(N))
    vector = embed([QUERY])[0]
    ranker = EnergyReranker(table).for_vector(vector)
    search = table.search(vector).limit(N)
    first = search.rerank(ranker, query_string="").to_arrow()
    energy = EnergyTable(table).build()
    then = search.rerank(ranker, query_string="").to_arrow()
    best = energy.search(vector).limit(N).to_arrow()
    assert then["id"].to_pylist() == best["id"].to_pylist()
    assert first["_relevance_score"].to_pylist() != then["_relevance_score"].to_pylist()


def test_equal_and_missing_vectors_without_a_field(database):
    rows = plain_rows(20)
    rows[3]["vector"] = rows[2]["vector"]
    table = database.create_table("twins", rows, schema=plain_schema())
    table.add([{**rows_of(1, start=50)[0], "vector": None}])
    found = table.search().select(["id", "vector"]).to_arrow()
    ranker = EnergyReranker().for_vector(rows[2]["vector"])
    result = ranker.rerank_fts("", found)
    assert result["id"].to_pylist()[:2] == [2, 3]
    assert result["id"].to_pylist()[-1] == 50
    scores = result["_relevance_score"].to_numpy()
    assert scores[0] == scores[1] > scores[2]
    without = found.filter(pa.array(np.arange(21) != 3))
    alone_scores = ranker.rerank_fts("", without)["_relevance_score"].to_numpy()
    np.testing.assert_array_equal(np.delete(scores, 1), alone_scores)


@pytest.mark.parametrize("built", [True, False])
def test_several_searches_for_one_question(database, bare, built):
    host = searchable(database, "ranked") if built else bare
    if built:
        EnergyTable(host).build()
    vectors = embed([QUERY, "river narrow river", "metal"])
    ranker = EnergyReranker(host, top_k=15, return_score="all")
    searches = [host.search(v).with_row_id(True).limit(20) for v in vectors]
    result = ranker.rerank_multivector(searches, QUERY)
    again = ranker.for_vector(vectors[0]).rerank_multivector([s.to_arrow() for s in searches])
    assert result.equals(again)
    union = {row for s in searches for row in s.to_arrow()["_rowid"].to_pylist()}
    rowids = result["_rowid"].to_pylist()
    assert len(set(rowids)) == len(rowids) == 15
    assert set(rowids) <= union
    assert np.all(np.diff(result["_relevance_score"].to_numpy()) <= 0)
    repeated = EnergyReranker(host).rerank_multivector(searches, QUERY, deduplicate=False)
    assert repeated.num_rows == 60
    best = repeated.group_by("_rowid").aggregate([("_relevance_score", "max")])
    assert sorted(best["_relevance_score_max"].to_pylist(), reverse=True)[:15] == (
        result["_relevance_score"].to_pylist()
    )


def test_what_is_refused_without_a_field(bare):
    vector = embed([QUERY])[0]
    with pytest.raises(InvalidInputError, match="does not know the query's vector"):
        EnergyReranker().rerank_vector("x", bare.search(vector).to_arrow())
    with pytest.raises(InvalidInputError, match=r"ranked by their vectors.*Select it"):
        bare.search(QUERY).select(["id", "_distance"]).rerank(EnergyReranker(bare)).to_arrow()
    with pytest.raises(InvalidInputError, match="with_row_id"):
        EnergyReranker(bare).rerank_multivector([bare.search(vector).limit(3)], QUERY)
    with pytest.raises(InvalidInputError, match="no results"):
        EnergyReranker(bare).rerank_multivector([], QUERY)
    with pytest.raises(InvalidInputError, match="48"):
        EnergyReranker().for_vector(np.ones(7)).rerank_vector("", bare.search(vector).to_arrow())


def test_a_column_that_the_field_is_not_of(database):
    rows = [{**row, "body": row["vector"][::-1]} for row in plain_rows(N)]
    schema = plain_schema().append(pa.field("body", pa.list_(pa.float32(), len(rows[0]["body"]))))
    table = database.create_table("columns", rows, schema=schema)
    energy = EnergyTable(table, "vector").build()
    vector = embed([QUERY])[0]
    with pytest.raises(InvalidInputError, match="column 'vector', got column='body'"):
        EnergyReranker(energy, column="body")
    search = table.search(vector, vector_column_name="vector").limit(30)
    by_field = search.rerank(
        EnergyReranker(energy, column="vector").for_vector(vector), ""
    ).to_list()
    assert by_field[0]["id"] == energy.search(vector).limit(1).to_list()[0]["id"]
    turned = np.ascontiguousarray(vector[::-1])
    search = table.search(turned, vector_column_name="body").limit(30)
    plain = search.to_arrow()
    alone_by_body = EnergyReranker(table, column="body").for_vector(turned)
    order, _ = alone(np.stack(plain["body"].to_numpy(zero_copy_only=False)), turned)
    result = search.rerank(alone_by_body, query_string="").to_arrow()
    assert result["id"].to_pylist() == plain["id"].take(pa.array(order)).to_pylist()
