"""Corners of LanceDB's surface where a field must keep up: types, names, empty results."""

import warnings

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyReranker, EnergyTable
from lancedb.embeddings import EmbeddingFunctionConfig, get_registry
from lancedb.index import BTree
from support.lancedb_data import (
    DIM,
    embed,
    ngrams,
    plain_rows,
    plain_schema,
    rows_of,
    text_of,
    text_schema,
)

N = 120
QUERY = embed([text_of(7)])[0]


def matrix(n=N):
    return np.stack([row["vector"] for row in plain_rows(n)]).astype(np.float32)


def made(path, column="vector", kind=None, extra=None, n=N):
    values = pa.array(matrix(n).reshape(-1)).cast(kind or pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(values, DIM)
    rows = {"id": pa.array(range(n)), column: vectors, **(extra or {})}
    return lancedb.connect(path).create_table("t", pa.table(rows))


def one_row(name, column, vector):
    vectors = pa.array([vector.tolist()], pa.list_(pa.float32(), DIM))
    return pa.table({"id": [name], column: vectors})


@pytest.mark.parametrize("layout", ["columns", "companion"])
@pytest.mark.parametrize("kind", [pa.float16(), pa.float64()])
def test_vectors_of_other_precision(tmp_path, kind, layout):
    table = made(tmp_path, kind=kind)
    energy = EnergyTable(table).build(layout=layout)
    assert energy.verify() == []
    best = energy.search(QUERY).limit(5).to_arrow()
    assert best["id"][0].as_py() == 7
    assert best.schema.field("vector").type.value_type == kind
    ranker = EnergyReranker(table).for_vector(QUERY)
    ranked = table.search(QUERY.tolist()).limit(N).rerank(ranker, query_string="").to_arrow()
    assert ranked["id"].to_pylist()[:5] == best["id"].to_pylist()
    assert (ranker.energy._snapshot is None) == (layout == "columns")
    table.update(where="id = 3", values={"vector": QUERY.tolist()})
    assert set(energy.search(QUERY).limit(2).to_arrow()["id"].to_pylist()) == {3, 7}
    assert len(energy.refresh()) == (layout == "columns")  # the vector of row 7 is known
    assert len(EnergyTable(table).info().pending) == 0


@pytest.mark.parametrize("column", ["My Vector", "select", "Ünïcode", "a'b"])
def test_columns_of_any_name(tmp_path, column):
    table = made(tmp_path, column)
    for layout in ("columns", "companion"):
        energy = EnergyTable(table).build(layout=layout)
        assert energy.search(QUERY).limit(1).to_list()[0]["id"] == 7
        table.add(one_row(500, column, QUERY + np.float32(0.001)))
        assert {row["id"] for row in energy.search(QUERY).limit(2).to_list()} == {7, 500}
        assert len(energy.refresh()) == 1
        table.delete("id = 500")
        assert energy.verify() == []


def test_filters_on_parts_of_structures(tmp_path):
    meta = pa.array([{"year": 2000 + i % 9, "tag": {"name": f"t{i % 2}"}} for i in range(N)])
    table = made(tmp_path, extra={"meta": meta})
    energy = EnergyTable(table).build()
    found = (
        energy.search(QUERY).where("meta.year > 2006 AND meta.tag.name = 't1'").limit(N).to_list()
    )
    want = {i for i in range(N) if 2000 + i % 9 > 2006 and i % 2}
    assert {row["id"] for row in found} == want
    part = energy.search(QUERY).select({"year": "meta.year", "id": "id"}).limit(3).to_list()
    assert [row["year"] for row in part] == [2000 + row["id"] % 9 for row in part]


def test_nothing_found_in_every_form(tmp_path):
    table = made(tmp_path)
    energy = EnergyTable(table).build()

    def nothing():
        return energy.search(QUERY).where("id < 0").with_terms().with_row_id()

    empty = nothing().to_arrow()
    full = energy.search(QUERY).with_terms().with_row_id().to_arrow()
    assert empty.num_rows == 0
    assert empty.schema.names == full.schema.names
    assert empty.schema.types == full.schema.types
    assert nothing().to_list() == []
    assert len(nothing().to_pandas()) == nothing().to_polars().height == 0
    assert nothing().to_batches().read_all().num_rows == 0
    several = energy.search([QUERY, QUERY]).where("id < 0").to_arrow()
    assert (several.num_rows, several.column_names[0]) == (0, "query_index")
    beyond = energy.search(QUERY).limit(5).offset(10 * N).to_arrow()
    assert beyond.num_rows == 0
    selected = energy.search(QUERY).where("id < 0").select(["energy_cell", "id"]).to_arrow()
    assert selected.column_names == ["energy_cell", "id", "_distance", "_relevance"]


def test_all_rows_deleted_and_others_added(tmp_path):
    table = made(tmp_path)
    energy = EnergyTable(table).build()
    table.delete("true")
    assert energy.search(QUERY).to_list() == []
    assert energy.search(np.stack([QUERY, QUERY])).to_arrow().num_rows == 0
    energy.add(one_row(1, "vector", QUERY))
    assert [row["id"] for row in energy.search(QUERY).to_list()] == [1]
    assert energy.verify() == []


def test_several_queries_with_limit_and_offset(tmp_path):
    energy = EnergyTable(made(tmp_path)).build()
    queries = matrix(3)
    both = energy.search(queries).select(["id"]).limit(4).offset(2).to_arrow()
    assert both["query_index"].to_pylist() == [0] * 4 + [1] * 4 + [2] * 4
    for i, query in enumerate(queries):
        one = energy.search(query).select(["id"]).limit(4).offset(2).to_arrow()
        assert both.slice(4 * i, 4)["id"].to_pylist() == one["id"].to_pylist()


def test_merge_insert_beside_a_scalar_index_misses_no_row(tmp_path):
    """A scalar index on the key has made merge_insert skip rows without a word before."""
    table = made(tmp_path)
    table.create_index("id", config=BTree())
    energy = EnergyTable(table).build()
    turned = np.roll(matrix(), 1, axis=0)
    for _ in range(2):  # the second one finds rows that the index does not hold
        rows = pa.table(
            {
                "id": pa.array(range(N + 5)),
                "vector": pa.FixedSizeListArray.from_arrays(
                    pa.array(np.vstack([turned, matrix(5)]).reshape(-1)), DIM
                ),
            }
        )
        done = energy.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        done.execute(rows)
        assert table.count_rows() == N + 5
        assert len(energy.info().pending) == 0
        assert energy.search(turned[30]).limit(1).to_list()[0]["id"] == 30
        assert energy.verify() == []


def test_a_changed_text_keeps_its_vector_until_it_is_written_anew(tmp_path):
    """LanceDB embeds in add and merge_insert, not in update; columns are those of the vector."""
    table = lancedb.connect(tmp_path).create_table("t", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    energy = EnergyTable(table).build()
    before = energy.search(text_of(7)).limit(1).to_list()[0]
    energy.update(where="id = 7", values={"text": "something else altogether"})
    after = energy.search(text_of(7)).limit(1).to_list()[0]
    assert (after["id"], after["text"]) == (7, "something else altogether")
    assert after["vector"] == before["vector"]
    assert len(energy.info().pending) == 0
    changed = [{**rows_of(1, start=7)[0], "text": "something else altogether"}]
    energy.merge_insert("id").when_matched_update_all().execute(changed)
    best = energy.search("something else altogether").limit(1).to_list()[0]
    assert best["id"] == 7
    np.testing.assert_allclose(best["vector"], embed(["something else altogether"])[0], atol=1e-6)
    assert energy.verify() == []


def test_an_embedding_function_that_is_attached_later(tmp_path):
    """Only pylance can do that; the vectors stay, and so does their field."""
    database = lancedb.connect(tmp_path)
    table = database.create_table("t", plain_rows(N), schema=plain_schema())
    EnergyTable(table).build()
    function = EmbeddingFunctionConfig(
        source_column="text", vector_column="vector", function=ngrams()
    )
    metadata = get_registry().get_table_metadata([function])
    text = metadata["embedding_functions"].decode()
    table.to_lance().update_schema_metadata({"embedding_functions": text})
    energy = EnergyTable(database.open_table("t"))
    assert energy.search(text_of(7)).limit(1).to_list()[0]["id"] == 7
    energy.add(rows_of(2, start=900))
    assert energy.search(text_of(901)).limit(1).to_list()[0]["id"] == 901
    assert energy.verify() == []
    ranked = table.search(QUERY).limit(20).rerank(EnergyReranker(energy), query_string=text_of(7))
    assert ranked.to_arrow()["id"][0].as_py() == 7


def test_searches_warn_of_nothing(tmp_path):
    """A select without ``_distance`` makes LanceDB's own search warn."""
    energy = EnergyTable(made(tmp_path)).build()
    ranker = EnergyReranker(energy).for_vector(QUERY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy.search(QUERY).select(["id"]).where("id > 3").limit(3).to_list()
        energy.search(matrix(2)).select({"next": "id + 1"}).limit(3).to_list()
        search = energy.table.search(QUERY).select(["id", "_distance"]).with_row_id(True)
        search.limit(20).rerank(ranker, query_string="").to_arrow()
        energy.refresh()
        energy.verify()
        energy.info()
