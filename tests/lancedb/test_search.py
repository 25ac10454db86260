"""Searching a built LanceDB table: values agree with the core, habits with LanceDB."""

import subprocess
import sys

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable
from support.lancedb_data import DIM, embed, ngrams, plain_rows, rows_of, text_schema, vectors_of

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.errors import InvalidInputError, NotBuiltError, OptionalDependencyError

N = 240
QUERY = "river quiet river rapid river"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return lancedb.connect(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def table(database):
    table = database.create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    return table


@pytest.fixture(scope="module")
def energy(table):
    return EnergyTable(table).build()


@pytest.fixture(scope="module")
def oracle(table, energy):
    """The core's own index over the same vectors, and the ids in its order."""
    ids, vectors = vectors_of(table)
    return EnergyIndex.fit(vectors), ids


def expected(oracle, vector, k, allowed=None):
    index, ids = oracle
    rows = None if allowed is None else np.flatnonzero(allowed(ids))
    found = index.search(vector, k=k, rows=rows)
    return ids[found.ids[0]].tolist(), found.distances[0]


def test_results_are_those_of_the_core(energy, oracle):
    vector = ngrams().embed(QUERY)
    got = energy.search(vector).limit(15).to_arrow()
    ids, distances = expected(oracle, vector, 15)
    assert got["id"].to_pylist() == ids
    np.testing.assert_array_equal(got["_distance"].to_numpy(), distances)
    assert np.all(np.diff(distances) >= 0)


def test_text_is_embedded_by_the_tables_function(energy, oracle):
    got = energy.search(QUERY).limit(15).to_arrow()
    ids, distances = expected(oracle, ngrams().embed(QUERY), 15)
    assert got["id"].to_pylist() == ids
    np.testing.assert_array_equal(got["_distance"].to_numpy(), distances)
    assert set(got["topic"].to_pylist()) == {"river"}


@pytest.mark.parametrize(
    ("where", "allowed"),
    [
        ("year = 2007", lambda ids: ids % 25 == 7),
        ("year > 2020 AND topic = 'wing'", lambda ids: (ids % 25 > 20) & (ids % 6 == 0)),
        ("id < 3", lambda ids: ids < 3),
        ("text LIKE '%metal%'", lambda ids: ids % 6 == 4),
    ],
)
def test_a_filter_never_shortens_the_result(energy, oracle, where, allowed):
    matching = int(allowed(np.arange(N)).sum())
    k = min(8, matching)
    got = energy.search(QUERY).where(where).limit(8).to_arrow()
    ids, distances = expected(oracle, ngrams().embed(QUERY), k, allowed)
    assert got["id"].to_pylist() == ids
    assert len(ids) == k
    np.testing.assert_array_equal(got["_distance"].to_numpy(), distances)


def test_filters_join_by_and(energy):
    both = energy.search(QUERY).where("year > 2010").where("topic = 'court'").limit(100).to_list()
    want = {i for i in range(N) if i % 25 > 10 and i % 6 == 2}
    assert {row["id"] for row in both} == want


def test_filters_are_handed_over_as_one(energy, monkeypatch):
    """LanceDB 0.33 keeps only the last of several calls of `where`."""
    from lancedb.expr import col
    from lancedb.query import LanceQueryBuilder

    given = []
    original = LanceQueryBuilder.where
    monkeypatch.setattr(
        LanceQueryBuilder, "where", lambda self, *a, **k: given.append(a) or original(self, *a, **k)
    )
    found = energy.search(QUERY).where("id < 9 OR id = 50").where(col("year") < 2006)
    assert {row["id"] for row in found.where("id > 2").limit(50).to_list()} == {3, 4, 5, 50}
    assert len(given) == 1


def test_a_filter_that_matches_nothing_gives_an_empty_result(energy):
    got = energy.search(QUERY).where("year = 1900").select(["id", "text"]).to_arrow()
    assert got.num_rows == 0
    assert got.column_names == ["id", "text", "_distance", "_relevance"]


def test_filter_on_an_energy_column(database):
    table = database.create_table("inside", plain_rows(N))
    energy = EnergyTable(table).build(layout="columns")
    query = embed([QUERY])[0]
    lambdas = energy.table.search().select(["id", "energy_lambda"]).to_arrow()
    median = float(np.median(lambdas["energy_lambda"].to_numpy()))
    got = energy.search(query).where(f"energy_lambda > {median}").limit(N).to_arrow()
    want = lambdas["id"].to_numpy()[lambdas["energy_lambda"].to_numpy() > np.float32(median)]
    assert sorted(got["id"].to_pylist()) == sorted(want.tolist())


@pytest.mark.parametrize(
    "ask", [{"where": "energy_lambda > 0.1"}, {"select": {"x": "energy_cell"}}]
)
def test_an_expression_on_energy_columns_that_stand_beside_the_table(energy, ask):
    search = energy.search(QUERY)
    for verb, value in ask.items():
        getattr(search, verb)(value)
    with pytest.raises(InvalidInputError, match=r"energy_.*layout='columns'"):
        search.to_list()


def test_offset_continues_where_limit_stopped(energy):
    whole = [row["id"] for row in energy.search(QUERY).limit(12).to_list()]
    assert [row["id"] for row in energy.search(QUERY).limit(5).offset(7).to_list()] == whole[7:]
    assert len(energy.search(QUERY).to_list()) == 10
    assert len(energy.search(QUERY).limit(10_000).to_list()) == N


def test_select_names_expressions_and_energy_columns(energy):
    plain = energy.search(QUERY).limit(4)
    assert plain.to_arrow().column_names == [
        "id",
        "text",
        "year",
        "topic",
        "vector",
        "_distance",
        "_relevance",
    ]
    ids = plain.to_arrow()["id"].to_pylist()
    named = energy.search(QUERY).select(["year", "id"]).limit(4).to_arrow()
    assert named.column_names == ["year", "id", "_distance", "_relevance"]
    assert named["id"].to_pylist() == ids
    computed = energy.search(QUERY).select({"next": "id + 1"}).limit(4).to_arrow()
    assert computed["next"].to_pylist() == [i + 1 for i in ids]
    mixed = energy.search(QUERY).select(["energy_lambda", "id", "_rowid"]).limit(4).to_arrow()
    assert mixed.column_names == ["energy_lambda", "id", "_distance", "_relevance", "_rowid"]
    snapshot = energy._live.snapshot()
    rows, _ = snapshot.find_rowids(mixed["_rowid"].to_numpy().astype(np.uint64))
    assert mixed["energy_lambda"].to_pylist() == snapshot.columns_of(rows).lambda_.tolist()


def test_select_of_nothing_but_energy_columns(energy):
    lambdas = energy.search(QUERY).select(["id", "energy_lambda"]).limit(4).to_arrow()
    only = energy.search(QUERY).select(["energy_lambda"]).limit(4).to_arrow()
    assert only.column_names == ["energy_lambda", "_distance", "_relevance"]
    assert only["energy_lambda"].to_pylist() == lambdas["energy_lambda"].to_pylist()
    rowids = energy.search(QUERY).select(["_rowid"]).limit(4).to_arrow()
    assert rowids.column_names == ["_distance", "_relevance", "_rowid"]
    assert rowids.num_rows == 4
    none = energy.search(QUERY).where("id < 0").select(["energy_lambda", "id"]).to_arrow()
    assert none.column_names == ["energy_lambda", "id", "_distance", "_relevance"]
    assert none.num_rows == 0


def test_terms_add_up_to_the_distance(energy):
    query = energy.search(QUERY).with_terms().limit(6)
    got = query.to_arrow()
    parts = [got[f"_term_{name}"].to_numpy() for name in ("lambda", "dispersion", "dirichlet")]
    np.testing.assert_allclose(sum(parts), got["_distance"].to_numpy(), atol=1e-5)
    assert query.work.rows_scored.tolist() == [N]


def test_several_queries_have_an_index(energy):
    texts = [QUERY, "music heavy music old", "wing plain wing"]
    vectors = np.stack([ngrams().embed(text) for text in texts])
    got = energy.search(vectors).select(["id"]).limit(3).to_arrow()
    assert got.column_names == ["query_index", "id", "_distance", "_relevance"]
    assert got["query_index"].to_pylist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    single = [r["id"] for v in vectors for r in energy.search(v).limit(3).to_list()]
    assert got["id"].to_pylist() == single
    assert energy.search(texts).select(["id"]).limit(3).to_arrow()["id"].to_pylist() == single
    assert energy.search(vectors[:1].tolist()).limit(2).to_arrow().column_names[0] == "query_index"


@pytest.mark.parametrize(
    "query",
    [("heavy music", "plain wing"), np.array(["heavy music", "plain wing"])],
    ids=["tuple", "array"],
)
def test_texts_of_any_make(energy, query):
    want = energy.search(["heavy music", "plain wing"]).limit(2).to_list()
    assert energy.search(query).limit(2).to_list() == want
    assert [row["query_index"] for row in want] == [0, 0, 1, 1]
    for one in (np.str_("heavy music"), np.array("heavy music")):
        single = energy.search(one).select(["id"]).limit(2).to_list()
        assert [row["id"] for row in single] == [row["id"] for row in want[:2]]
        assert set(single[0]) == {"id", "_distance", "_relevance"}


def test_prefilter_is_the_default(energy):
    plain = energy.search(QUERY).where("id < 50").limit(3).to_list()
    assert energy.search(QUERY).where("id < 50", prefilter=True).limit(3).to_list() == plain


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_library_is_named(energy, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OptionalDependencyError, match=f"pip install {library}"):
        getattr(energy.search(QUERY), f"to_{library}")()


def test_without_lancedb_the_install_line_is_given():
    program = "import sys; sys.modules['lancedb'] = None; import energy_lancedb"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert 'pip install "lancedb>=' in done.stderr


@pytest.mark.parametrize("config", [{"bits": 2}, 2, "default"])
def test_a_config_of_another_kind_is_refused_before_rows_are_read(table, config, monkeypatch):
    monkeypatch.setattr("energy_lancedb.host.Host.vectors", None)
    with pytest.raises(InvalidInputError, match="config must be an EnergyConfig"):
        EnergyTable(table).build(config)


def test_every_form_of_result_holds_the_same_rows(energy):
    query = energy.search(QUERY).limit(5)
    ids = query.to_arrow()["id"].to_pylist()
    assert query.to_pandas()["id"].tolist() == ids
    assert query.to_polars()["id"].to_list() == ids
    assert [row["id"] for row in query.to_list()] == ids
    assert query.to_batches().read_all()["id"].to_pylist() == ids
    pages = query.to_pydantic(text_schema(ngrams()))
    assert [page.id for page in pages] == ids
    np.testing.assert_allclose(pages[0].vector, ngrams().embed(pages[0].text), atol=1e-6)


def test_the_users_own_calls_still_work(energy, table):
    hits = table.search(QUERY).limit(3).to_pydantic(text_schema(ngrams()))
    assert all(page.topic == "river" for page in hits)
    assert table.search(QUERY).limit(3).to_pandas()["topic"].tolist() == ["river"] * 3
    assert table.embedding_functions["vector"].source_column == "text"


def test_a_lancedb_reranker_can_follow(energy):
    from lancedb.rerankers import Reranker

    class Backwards(Reranker):
        def rerank_vector(self, query, vector_results):
            assert query == QUERY
            return vector_results.take(list(range(vector_results.num_rows))[::-1])

        def rerank_hybrid(self, query, vector_results, fts_results):
            raise NotImplementedError

    plain = [row["id"] for row in energy.search(QUERY).limit(4).to_list()]
    turned = [r["id"] for r in energy.search(QUERY).limit(4).rerank(Backwards()).to_list()]
    assert turned == plain[::-1]
    with pytest.raises(InvalidInputError, match="query_string"):
        energy.search(np.ones(DIM)).rerank(Backwards())


@pytest.mark.parametrize("limit", [0, -1, None, 2.5, "3", True])
def test_a_bad_limit_is_refused(energy, limit):
    with pytest.raises(InvalidInputError, match="limit"):
        energy.search(QUERY).limit(limit)


@pytest.mark.parametrize(
    "query",
    [np.ones(DIM + 1), [1.0, 2.0], np.full(DIM, np.nan), np.ones((2, 3)), np.ones((2, 2, DIM)), []],
)
def test_a_bad_vector_is_refused(energy, query):
    with pytest.raises(InvalidInputError, match="query"):
        energy.search(query).to_arrow()


def test_other_bad_requests(energy):
    with pytest.raises(InvalidInputError, match="None"):
        energy.search(None)
    with pytest.raises(ValueError, match="nope"):
        energy.search(QUERY).where("nope > 3").to_arrow()
    with pytest.raises(ValueError, match="sql parser"):
        energy.search(QUERY).where("year >").to_arrow()
    with pytest.raises(ValueError, match="nope"):
        energy.search(QUERY).select(["nope"]).to_arrow()
    with pytest.raises(InvalidInputError, match="columns"):
        energy.search(QUERY).select("id")
    with pytest.raises(NotBuiltError, match="vector_2"):
        energy.search(QUERY, vector_column_name="vector_2").to_arrow()


def test_text_needs_an_embedding_function(database):
    table = database.create_table("bare", plain_rows(60))
    energy = EnergyTable(table)
    with pytest.raises(NotBuiltError, match="build"):
        energy.search(np.ones(DIM)).to_arrow()
    energy.build(EnergyConfig(n_anchors=8))
    with pytest.raises(ValueError, match="No embedding function for 'vector'"):
        energy.search(QUERY).to_arrow()
    assert energy.info().config["n_anchors"] == 8
    assert energy.info().embedder is None
