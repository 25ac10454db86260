"""EnergyReranker in LanceDB's own vector, full-text and hybrid searches."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyReranker, EnergyTable
from energy_lancedb.live import LiveTable
from lancedb.index import FTS
from lancedb.rerankers import Reranker
from support.lancedb_data import embed, ngrams, plain_rows, plain_schema, rows_of, text_schema

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import InvalidInputError

N = 150
QUERY = "river quiet river rapid river"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return lancedb.connect(tmp_path_factory.mktemp("rerank"))


@pytest.fixture(scope="module")
def table(database):
    table = database.create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    table.create_index("text", config=FTS())
    return table


@pytest.fixture(scope="module")
def energy(table):
    return EnergyTable(table).build(layout="columns")


def reference(energy, rowids):
    """Energy order and scores of some rows, from the core."""
    snapshot = energy._live.snapshot()
    rows = np.sort(snapshot.find_rowids(np.array(rowids, dtype=np.uint64))[0])
    found = snapshot.index.search(embed([QUERY])[0], k=len(rows), rows=rows)
    return snapshot.rowids[found.ids[0]].tolist(), -found.distances[0]


def assert_reranked(result, energy):
    ids, scores = reference(energy, result["_rowid"].to_pylist())
    assert result["_rowid"].to_pylist() == ids
    np.testing.assert_allclose(result["_relevance_score"].to_numpy(), scores, atol=1e-5)
    assert result.schema.field("_relevance_score").type == "float"


def test_vector_search_by_text(table, energy):
    assert isinstance(EnergyReranker(energy), Reranker)
    query = table.search(QUERY).distance_type("cosine").with_row_id(True).limit(30)
    result = query.rerank(EnergyReranker(energy)).to_arrow()
    assert result.num_rows == 30
    assert_reranked(result, energy)
    assert "_distance" not in result.column_names


def test_without_row_ids_the_vector_tells_the_row(table, energy):
    with_ids = table.search(QUERY).with_row_id(True).limit(30).rerank(EnergyReranker(energy))
    without = table.search(QUERY).limit(30).rerank(EnergyReranker(energy)).to_arrow()
    assert without["id"].to_pylist() == with_ids.to_arrow()["id"].to_pylist()
    picked = table.search(QUERY).select(["id", "vector", "_distance"]).limit(30)
    again = picked.rerank(EnergyReranker(energy)).to_arrow()
    assert again["id"].to_pylist() == without["id"].to_pylist()


def test_vector_search_by_vector(table, energy):
    vector = embed([QUERY])[0]
    ranker = EnergyReranker(energy, return_score="all").for_vector(vector)
    query = table.search(vector).with_row_id(True).limit(30)
    result = query.rerank(ranker, query_string="").to_arrow()
    assert_reranked(result, energy)
    assert "_distance" in result.column_names


def test_reranking_every_row_gives_the_tables_own_search(table, energy):
    everything = table.search(QUERY).limit(N).rerank(EnergyReranker(energy, top_k=12)).to_arrow()
    best = energy.search(QUERY).limit(12).to_arrow()
    assert everything["id"].to_pylist() == best["id"].to_pylist()
    np.testing.assert_allclose(
        everything["_relevance_score"].to_numpy(), -best["_distance"].to_numpy(), atol=1e-5
    )


def test_full_text_search(table, energy):
    query = table.search("river quiet river rapid river", query_type="fts").with_row_id(True)
    result = query.limit(40).rerank(EnergyReranker(energy, lexical_weight=0)).to_arrow()
    assert_reranked(result, energy)
    assert "_score" not in result.column_names
    kept = query.rerank(EnergyReranker(energy, return_score="all")).to_arrow()
    assert "_score" in kept.column_names


@pytest.mark.parametrize("score", ["relevance", "all"])
def test_hybrid_search(table, energy, score):
    query = table.search(QUERY, query_type="hybrid").limit(20)
    result = query.rerank(EnergyReranker(energy, return_score=score)).to_arrow()
    assert result.num_rows == 20
    assert set(result["topic"].to_pylist()) == {"river"}
    scores = result["_relevance_score"].to_numpy()
    assert np.all(np.diff(scores) <= 0)
    assert ("_distance" in result.column_names) == (score == "all")


def test_relevance_is_that_of_a_search(table, energy):
    vector = embed([QUERY])[0]
    known = energy.search(vector).limit(N).to_arrow()
    known = dict(zip(known["id"].to_pylist(), known["_relevance"].to_pylist(), strict=True))
    ranker = EnergyReranker(energy, return_score="all").for_vector(vector)
    assert (
        "_relevance"
        not in table.search(QUERY).rerank(EnergyReranker(energy)).to_arrow().schema.names
    )
    for search in (
        table.search(QUERY),
        table.search(QUERY, query_type="fts"),
        table.search(QUERY, query_type="hybrid"),
        table.search(QUERY).select(["id", "vector"]),
    ):
        result = search.limit(25).rerank(ranker).to_arrow()
        wanted = [known[i] for i in result["id"].to_pylist()]
        np.testing.assert_allclose(result["_relevance"].to_numpy(), wanted, atol=1e-5)


def test_hybrid_union(table, energy):
    """Both sides, each row once, ranked together."""
    vector = table.search(embed(["wing"])[0]).with_row_id(True).limit(8).to_arrow()
    text = table.search("metal", query_type="fts").with_row_id(True).limit(8).to_arrow()
    both = set(vector["_rowid"].to_pylist()) | set(text["_rowid"].to_pylist())
    for score in ("relevance", "all"):
        ranker = EnergyReranker(energy, return_score=score, lexical_weight=0)
        result = ranker.rerank_hybrid(QUERY, vector, text)
        assert sorted(result["_rowid"].to_pylist()) == sorted(both)
        assert_reranked(result, energy)
    found = dict(zip(text["_rowid"].to_pylist(), text["_score"].to_pylist(), strict=True))
    got = dict(zip(result["_rowid"].to_pylist(), result["_score"].to_pylist(), strict=True))
    assert got == {rowid: found.get(rowid) for rowid in both}


@pytest.mark.parametrize("score", ["relevance", "all"])
def test_hybrid_search_without_a_full_text_hit(table, energy, score):
    query = table.search(query_type="hybrid").vector(embed([QUERY])[0]).text("zzzzzz").limit(6)
    ranker = EnergyReranker(energy, return_score=score).for_vector(embed([QUERY])[0])
    result = query.rerank(ranker).to_arrow()
    assert result.num_rows == 6
    if "_rowid" not in result.column_names:
        result = result.append_column("_rowid", rowids(table, result))
    assert_reranked(result, energy)


def rowids(table, result):
    found = table.search().select(["id", "_rowid"]).to_arrow()
    by_id = dict(zip(found["id"].to_pylist(), found["_rowid"].to_pylist(), strict=True))
    return pa.array([by_id[i] for i in result["id"].to_pylist()], pa.uint64())


def test_row_ids_alone_are_enough(table, energy):
    picked = table.search(QUERY).select(["id", "_distance"]).with_row_id(True).limit(30)
    assert_reranked(picked.rerank(EnergyReranker(energy)).to_arrow(), energy)


def lines(result):
    return list(zip(result["id"].to_pylist(), result["_relevance_score"].to_pylist(), strict=True))


SEARCHES = {
    "vector": lambda t: t.search(QUERY),
    "vector, row ids alone": lambda t: t.search(QUERY).select(["id"]).with_row_id(True),
    "vector, no columns": lambda t: t.search(QUERY).select(["id", "vector"]).with_row_id(True),
    "full text": lambda t: t.search(QUERY, query_type="fts"),
    "hybrid": lambda t: t.search(QUERY, query_type="hybrid"),
    "hybrid, row ids alone": lambda t: t.search(QUERY, query_type="hybrid").select(["id"]),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_candidates_bring_their_own_columns(database, energy, kind, monkeypatch):
    """No other row is read, and the order is that of a search among these rows."""
    table = database.open_table("pages")
    fresh = EnergyTable(table)
    search = SEARCHES[kind](table)
    got = lines(search.limit(25).rerank(EnergyReranker(fresh)).to_arrow())
    assert len(got) == 25
    assert fresh._live._snapshot is None
    monkeypatch.setattr("energy_lancedb.reranker.scored_by_columns", lambda *_, **__: None)
    slow = lines(SEARCHES[kind](table).limit(25).rerank(EnergyReranker(fresh)).to_arrow())
    assert fresh._live._snapshot is not None
    assert [name for name, _ in got] == [name for name, _ in slow]
    np.testing.assert_allclose([s for _, s in got], [s for _, s in slow], atol=1e-5)


def test_columns_of_a_former_field_are_not_mixed_with_the_present_one(tmp_path):
    """A handle that lags behind a build returns the former columns."""
    database = lancedb.connect(tmp_path)
    table = database.create_table("t", schema=plain_schema())
    table.add(plain_rows(80))
    energy = EnergyTable(table).build(layout="columns")
    behind = database.open_table("t")
    query = np.array(plain_rows(1, start=500)[0]["vector"], dtype=np.float32)
    lagging = behind.search(query).limit(20).to_arrow()
    energy.build(EnergyConfig(bits=8, seed=5))
    ranker = EnergyReranker(EnergyTable(table)).for_vector(query)
    got = ranker.rerank_vector("", lagging)
    present = database.open_table("t").search(query).limit(20).to_arrow()
    expected = ranker.rerank_vector("", present)
    assert got["id"].to_pylist() == expected["id"].to_pylist()
    np.testing.assert_allclose(got["_relevance_score"], expected["_relevance_score"], atol=1e-6)


def test_candidates_without_a_vector_are_last(database):
    rows = [{**row, "vector": None} for row in rows_of(2, start=N)]
    table = database.create_table("holes", plain_rows(N), schema=plain_schema())
    table.add(rows)
    table.create_index("text", config=FTS())
    ranker = EnergyReranker(EnergyTable(table).build()).for_vector(embed([QUERY])[0])
    search = table.search(f"{rows[0]['text']} river", query_type="fts").limit(50)
    for query in (search, search.select(["id", "_score"]).with_row_id(True)):
        result = query.rerank(ranker).to_arrow()
        ids = result["id"].to_pylist()
        holes = [i for i in ids if i >= N]
        assert N in holes
        assert ids[-len(holes) :] == holes
        assert not np.isnan(result["_relevance_score"].to_numpy()).any()


def test_no_candidates(table, energy):
    query = table.search(QUERY).where("year = 1900").limit(5)
    result = query.rerank(EnergyReranker(energy)).to_arrow()
    assert result.num_rows == 0
    assert "_relevance_score" in result.column_names


def test_candidates_of_another_table_are_scored_from_their_vectors(database, energy):
    rows = plain_rows(6, start=900)
    rows[4]["vector"] = embed([QUERY])[0]
    other = database.create_table("others", rows)
    vector = embed([QUERY])[0]
    ranker = EnergyReranker(energy).for_vector(vector)
    result = other.search(vector).limit(6).rerank(ranker, query_string="").to_arrow()
    assert result["id"].to_pylist()[0] == 904
    scores = result["_relevance_score"].to_numpy()
    assert np.isfinite(scores).all()
    assert np.all(np.diff(scores) <= 0)


def test_such_candidates_are_scored_on_the_tables_device(database, energy, monkeypatch):
    from energy_plugin.energy.search import few

    other = database.create_table("further", plain_rows(40, start=1000))
    vector = embed([QUERY])[0]
    on_device = EnergyTable(energy.table, device="cpu")
    used = []
    original = few.among

    def spy(*given, device=None, **more):
        used.append(device)
        return original(*given, device=device, **more)

    monkeypatch.setattr(few, "among", spy)
    ranker = EnergyReranker(on_device).for_vector(vector)
    assert len(other.search(vector).limit(5).rerank(ranker, query_string="").to_list()) == 5
    assert used == ["cpu"]


def test_rows_added_since_the_build(database):
    table = database.create_table("growing", plain_rows(N))
    energy = EnergyTable(table).build()
    table.add([{**plain_rows(1, start=N)[0], "vector": embed([QUERY])[0]}])
    ranker = EnergyReranker(table).for_vector(embed([QUERY])[0])
    result = table.search(embed([QUERY])[0]).limit(20).rerank(ranker, query_string="").to_arrow()
    assert result["id"].to_pylist()[0] == N
    assert len(energy.info().pending) == 1


def test_several_queries_are_ranked_one_by_one(table, energy):
    vectors = embed([QUERY, "heart old heart", "wing"])
    search = table.search(vectors).limit(12)
    result = search.rerank(
        EnergyReranker(energy, top_k=4).for_vector(vectors), query_string=""
    ).to_arrow()
    assert result["query_index"].to_pylist() == [0] * 4 + [1] * 4 + [2] * 4
    single = []
    for vector in vectors:
        ranker = EnergyReranker(energy, top_k=4).for_vector(vector)
        one = table.search(vector).limit(12).rerank(ranker, query_string="").to_arrow()
        single += one["id"].to_pylist()
    assert result["id"].to_pylist() == single
    with pytest.raises(InvalidInputError, match="3 queries, the reranker has 1"):
        search.rerank(EnergyReranker(energy).for_vector(vectors[0]), query_string="").to_arrow()


def test_the_query_is_embedded_once(table, energy, monkeypatch):
    texts = []
    original = LiveTable.embed_query

    def count(self, query):
        texts.append(query)
        return original(self, query)

    monkeypatch.setattr(LiveTable, "embed_query", count)
    ranker = EnergyReranker(energy)
    for _ in range(3):
        table.search(QUERY).limit(5).rerank(ranker).to_arrow()
    assert texts == [QUERY]


def test_what_is_refused(database, table, energy):
    with pytest.raises(InvalidInputError, match="with_row_id"):
        table.search(QUERY).select(["id", "_distance"]).rerank(EnergyReranker(energy)).to_arrow()
    with pytest.raises(InvalidInputError, match="top_k"):
        EnergyReranker(energy, top_k=0)
    with pytest.raises(ValueError, match="score"):
        EnergyReranker(energy, return_score="some")
