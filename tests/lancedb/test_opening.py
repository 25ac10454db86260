"""Opening a field: damage, strangers, other processes."""

import json
import subprocess
import sys
import textwrap
from datetime import timedelta

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable
from energy_lancedb.host import Host
from energy_lancedb.pointer import KEY, Pointer
from support.lancedb_data import (
    DIM,
    ENERGY,
    N,
    embed,
    hits,
    names,
    ngrams,
    plain_rows,
    plain_schema,
    rows_of,
    text_of,
    text_schema,
)

from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)


def rewrite_pointer(table, **changes):
    pointer = json.loads(table.schema.field("energy_residual").metadata[KEY.encode()])
    text = json.dumps({**pointer, **changes})
    table.update_field_metadata({"path": "energy_residual", "metadata": {KEY: text}})


def test_damaged_artefacts(table, database):
    EnergyTable(table).build()
    stored = database.open_table("pages__energy")
    good = stored.to_arrow()
    blob = bytearray(good["data"][0].as_py())
    blob[len(blob) // 2] ^= 1
    sound = hits(EnergyTable(table))
    stored.update(where="generation = 1", values={"data": bytes(blob)})
    assert hits(EnergyTable(table)) == sound  # from an older version of the artefact table
    stored.optimize(cleanup_older_than=timedelta(0))
    with pytest.raises(CorruptFieldError, match=r"checksum.*build\(\)"):
        hits(EnergyTable(table))
    stored.delete("true")
    stored.optimize(cleanup_older_than=timedelta(0))
    with pytest.raises(CorruptFieldError, match=r"0 chunks, expected 1.*build\(\)"):
        hits(EnergyTable(table))
    database.drop_table("pages__energy")
    with pytest.raises(CorruptFieldError, match=r"missing.*build\(\)"):
        hits(EnergyTable(table))
    assert EnergyTable(table).build().info().generation == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, r"format version 99.* reads 1\. .*upgrade energy-plugin"),
        ({"code_bytes": 7}, "code_bytes is 7"),
        ({"code_bytes": 17}, "expected 21 bytes per row"),
        ({"sha256": "0" * 64}, "0 chunks, expected 1"),
    ],
)
def test_damaged_pointer(table, changes, message):
    EnergyTable(table).build(layout="columns")
    rewrite_pointer(table, **changes)
    with pytest.raises(CorruptFieldError, match=message):
        hits(EnergyTable(table))
    assert len(hits(EnergyTable(table).build(layout="columns"))) == 10


def test_unreadable_pointer():
    with pytest.raises(CorruptFieldError, match="unreadable"):
        Pointer.from_json("{")
    with pytest.raises(CorruptFieldError, match=r"incomplete .*'generation'"):
        Pointer.from_json('{"format_version": 1, "files": []}')


def test_another_embedder(table, database):
    EnergyTable(table).build()
    schema = table.schema
    functions = json.loads(schema.metadata[b"embedding_functions"])
    functions[0]["model"]["salt"] = 1
    table.to_lance().update_schema_metadata({"embedding_functions": json.dumps(functions)})
    with pytest.raises(ForeignFieldError, match=r"embedder.*build\(\)"):
        hits(EnergyTable(database.open_table("pages")))


def test_another_dimension(table):
    EnergyTable(table).build(layout="columns")
    rewrite_pointer(table, dim=32, code_bytes=21)
    with pytest.raises(ForeignFieldError, match=r"32 dimensions.*48 dimensions"):
        hits(EnergyTable(table))


def test_the_field_of_another_column(database):
    rows = [{**row, "second": row["vector"][::-1]} for row in plain_rows(N)]
    second = pa.field("second", pa.list_(pa.float32(), DIM))
    table = database.create_table("pages", rows, schema=plain_schema().append(second))
    with pytest.raises(InvalidInputError, match="2 vector columns"):
        EnergyTable(table).build()
    energy = EnergyTable(table, "second").build()
    assert energy.search(rows[3]["second"]).limit(1).to_list()[0]["id"] == 3
    assert EnergyTable(table).info().vector_column == "second"
    with pytest.raises(NotBuiltError, match=r"no energy field of the vector column 'vector'"):
        EnergyTable(table, "vector").search(rows[3]["vector"]).to_arrow()


def test_columns_of_the_user_are_not_taken(database):
    rows = [{**row, "energy_cell": 5} for row in plain_rows(N)]
    table = database.create_table("pages", rows)
    with pytest.raises(InvalidInputError, match=r"\['energy_cell'\].*layout='companion'"):
        EnergyTable(table).build(layout="columns")
    assert table.schema.names[-1] == "energy_cell"
    energy = EnergyTable(table).build()
    hit = energy.search(rows[3]["vector"]).limit(1).to_list()[0]
    assert (hit["id"], hit["energy_cell"]) == (3, 5)
    both = energy.search(rows[3]["vector"]).select(["energy_cell", "energy_lambda"]).limit(1)
    assert both.to_list()[0]["energy_cell"] == 5
    energy.drop()
    table.checkout_latest()
    assert set(table.to_arrow()["energy_cell"].to_pylist()) == {5}


def test_what_cannot_be_built(database, table):
    empty = database.create_table("empty", schema=text_schema(ngrams()))
    with pytest.raises(InvalidInputError, match="no row with a vector"):
        EnergyTable(empty).build()
    texts = database.create_table("texts", [{"id": 1, "text": "x"}])
    with pytest.raises(InvalidInputError, match="0 vector columns"):
        EnergyTable(texts).build()
    with pytest.raises(InvalidInputError, match="no column 'nope'"):
        EnergyTable(table, "nope").build()
    with pytest.raises(InvalidInputError, match="type string"):
        EnergyTable(table, "text").build()
    with pytest.raises(InvalidInputError, match="layout"):
        EnergyTable(table).build(layout="beside")
    with pytest.raises(InvalidInputError, match="LanceDB table"):
        EnergyTable({"vector": []})
    assert names(database) == ["empty", "pages", "texts"]


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_a_table_made_anew_has_no_field(table, database, layout):
    EnergyTable(table).build(layout=layout)
    again = database.create_table("pages", plain_rows(N, start=5000), mode="overwrite")
    energy = EnergyTable(again)
    with pytest.raises(NotBuiltError):
        energy.search(embed(["x"])[0]).to_arrow()
    assert energy.build().info().generation == 2


def test_overwriting_rows_drops_the_field(table):
    energy = EnergyTable(table).build(layout="columns")
    energy.add(pa.Table.from_pylist(plain_rows(N)), mode="overwrite")
    table.checkout_latest()
    assert not set(ENERGY) & set(table.schema.names)
    with pytest.raises(NotBuiltError):
        hits(energy)


def test_rows_that_are_overwritten_by_themselves_keep_their_field(table):
    """As who loads the whole table again every night."""
    energy = EnergyTable(table).build()
    vector, expected = embed([text_of(7)])[0], hits(energy, text_of(7))
    energy.add(pa.Table.from_pylist(plain_rows(N)), mode="overwrite")
    found = energy.search(vector).select(["id"]).limit(10).to_list()
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    assert energy.verify() == []
    energy.add(pa.Table.from_pylist(plain_rows(N, start=5000)), mode="overwrite")
    with pytest.raises(NotBuiltError, match=r"All 100 rows .* replaced.*build\(\)"):
        energy.search(vector).to_list()
    assert energy.build().verify() == []


def test_a_table_that_was_emptied_is_filled_again(table, database):
    energy = EnergyTable(table).build()
    energy.delete("true")
    assert energy.search(embed(["x"])[0]).to_list() == []
    energy.add(rows_of(20, start=5000))
    assert hits(energy, text_of(5003), 1)[0]["id"] == 5003
    assert EnergyTable(database.open_table("pages")).verify() == []


def test_a_table_in_a_namespace(tmp_path):
    database = lancedb.connect_namespace("dir", {"root": str(tmp_path)})
    database.create_namespace(["library"])
    table = database.create_table("pages", plain_rows(N), namespace_path=["library"])
    for layout in ("columns", "companion"):
        energy = EnergyTable(table).build(layout=layout)
        assert energy.search(embed([text_of(3)])[0]).limit(1).to_list()[0]["id"] == 3
        energy.drop()
    assert database.list_tables(["library"]).tables == ["pages"]


def test_without_pylance(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)
    energy = EnergyTable(table).build()
    assert energy.info().layout == "companion"
    assert Host(table).has_dataset() is False
    assert len(hits(energy)) == 10


# -- another process


def test_another_process_imports_only_the_adapter(table, tmp_path):
    EnergyTable(table).build()
    mine = hits(EnergyTable(table))
    script = f"""
        import json, sys
        sys.path.insert(0, {str(__import__("pathlib").Path(__file__).parents[1])!r})
        import lancedb
        from support import lancedb_data
        from energy_lancedb import EnergyTable
        light = "torch" not in sys.modules
        energy = EnergyTable(lancedb.connect({str(tmp_path)!r}).open_table("pages"))
        before = energy.search("heart plain heart").select(["id"]).limit(10).to_list()
        energy.add(lancedb_data.rows_of(2, start={N}))
        found = energy.search(lancedb_data.text_of({N} + 1)).limit(1).to_list()[0]["id"]
        print(json.dumps([before, found, len(energy.info().pending), light]))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    before, found, stale, light = json.loads(run.stdout.splitlines()[-1])
    assert [row["id"] for row in before] == [row["id"] for row in mine]
    np.testing.assert_allclose(
        [row["_distance"] for row in before], [row["_distance"] for row in mine], atol=1e-6
    )
    assert (found, stale) == (N + 1, 0)
    assert light  # importing the adapter costs no torch
    mine = EnergyTable(table)
    assert mine.search(text_of(N)).limit(1).to_list()[0]["id"] == N
    assert mine.info().rows == N + 2


def test_a_table_of_another_make_in_the_companions_place_is_kept(table, database):
    database.create_table("pages__energy", [{"mine": 1}])
    with pytest.raises(CorruptFieldError, match=r"'pages__energy' has the columns \['mine'\]"):
        EnergyTable(table).build()
    assert database.open_table("pages__energy").to_arrow().to_pylist() == [{"mine": 1}]
    assert table.schema.names == database.open_table("pages").schema.names
    assert not set(ENERGY) & set(database.open_table("pages").schema.names)
