"""What stands in the database: types, generations, crashes, damage, other writers, reopening."""

import json
import subprocess
import sys
import textwrap

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable, column_layout
from energy_lancedb.artefacts import Artefacts
from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.companion_layout import CompanionLayout
from energy_lancedb.host import Host
from energy_lancedb.pointer import KEY, Pointer
from lancedb_data import (
    DIM,
    embed,
    ngrams,
    plain_rows,
    plain_schema,
    rows_of,
    text_of,
    text_schema,
)

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)

N = 100
ENERGY = ["energy_lambda", "energy_dispersion", "energy_cell", "energy_residual"]


@pytest.fixture
def database(tmp_path):
    return lancedb.connect(tmp_path)


@pytest.fixture
def table(database):
    table = database.create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    return table


def hits(energy, text="heart plain heart", k=10):
    return energy.search(text).select(["id"]).limit(k).to_arrow().to_pylist()


def names(database):
    return sorted(database.list_tables().tables)


def rewrite_pointer(table, **changes):
    pointer = json.loads(table.schema.field("energy_residual").metadata[KEY.encode()])
    text = json.dumps({**pointer, **changes})
    table.update_field_metadata({"path": "energy_residual", "metadata": {KEY: text}})


# -- what is written


def test_columns_types_index_and_companion(table, database):
    before = table.schema
    energy = EnergyTable(table).build(EnergyConfig(bits=2))
    info = energy.info()
    schema = table.schema
    assert schema.names == [*before.names, *ENERGY]
    assert all(schema.field(name).nullable for name in ENERGY)
    assert [schema.field(name).type for name in ENERGY[:3]] == [
        pa.float32(),
        pa.float32(),
        pa.int32(),
    ]
    code_bytes = int(info.row_bytes) - 12
    assert schema.field("energy_residual").type == pa.binary(code_bytes + 4)
    assert [(i.index_type, i.columns) for i in table.list_indices()] == [
        ("Bitmap", ["energy_cell"])
    ]
    assert names(database) == ["pages", "pages__energy"]
    assert database.open_table("pages__energy").count_rows() == 1
    assert schema.metadata == before.metadata
    assert table.schema.field("vector").metadata == before.field("vector").metadata


def test_a_vector_index_survives_a_build(database):
    table = database.create_table("pages", plain_rows(300))
    table.create_index("vector", config=lancedb.index.IvfFlat(num_partitions=2))
    EnergyTable(table).build()
    (index,) = [i for i in table.list_indices() if i.columns == ["vector"]]
    assert (index.num_indexed_rows, index.num_unindexed_rows) == (300, 0)


def test_building_again_replaces_the_generation(table, database):
    energy = EnergyTable(table).build(EnergyConfig(bits=2))
    two = energy.info()
    energy.build(EnergyConfig(bits=4))
    four = energy.info()
    assert (two.generation, four.generation) == (1, 2)
    assert four.row_bytes > two.row_bytes
    assert table.schema.names[-4:] == ENERGY
    stored = database.open_table("pages__energy").to_arrow()
    assert set(stored["generation"].to_pylist()) == {2}
    assert hits(EnergyTable(database.open_table("pages"))) == hits(energy)


def test_large_artefacts_are_cut_into_chunks(database, monkeypatch):
    monkeypatch.setattr("energy_lancedb.artefacts.CHUNK_BYTES", 1000)
    artefacts = Artefacts(database, "pages__energy")
    blob = np.random.default_rng(0).bytes(12_345)
    chunks, sha256 = artefacts.write(3, blob)
    artefacts.write(4, b"other")
    assert chunks == 13
    assert artefacts.read(3, chunks, sha256) == blob
    assert artefacts.last_generation() == 4
    with pytest.raises(CorruptFieldError, match="0 chunks, expected 13"):
        artefacts.read(4, chunks, sha256)


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_drop_leaves_the_table_as_it_was(table, database, layout):
    before = table.schema
    rows = table.to_arrow()
    energy = EnergyTable(table).build(layout=layout)
    energy.drop()
    assert names(database) == ["pages"]
    assert table.schema == before
    assert not table.schema.field("vector").metadata
    assert table.to_arrow() == rows
    with pytest.raises(NotBuiltError):
        hits(energy)
    energy.build(layout=layout)
    assert energy.info().generation == 1


def test_the_layouts_agree_and_replace_each_other(table, database):
    energy = EnergyTable(table)
    inside = hits(energy.build(layout="columns"))
    beside = hits(energy.build(layout="companion"))
    assert [h["id"] for h in inside] == [h["id"] for h in beside]
    assert not set(ENERGY) & set(table.schema.names)
    assert names(database) == ["pages", "pages__energy", "pages__energy_rows"]
    assert hits(energy.build(layout="columns")) == inside
    assert names(database) == ["pages", "pages__energy"]
    assert table.schema.names[-4:] == ENERGY


# -- crashes


class Crash(Exception):
    pass


def crash(*args, **kwargs):
    raise Crash


def crash_on_old(original):
    def drop(self):
        if "energy_cell__old" in self.host.schema.names:
            raise Crash
        original(self)

    return drop


COLUMN_STEPS = {
    "artefacts written": (ColumnLayout, "_add_next", crash),
    "columns added": (ColumnLayout, "_swap", crash),
    "columns swapped": (ColumnLayout, "_drop_suffixed", crash_on_old(ColumnLayout._drop_suffixed)),
    "old columns dropped": (ColumnLayout, "_index_cells", crash),
    "cells indexed": (Artefacts, "drop_outdated", crash),
}
COMPANION_STEPS = {
    "artefacts written": (CompanionLayout, "publish", crash),
    "rows written": (CompanionLayout, "_flip", crash),
    "pointer flipped": (CompanionLayout, "_drop_outdated", crash),
    "old rows dropped": (Artefacts, "drop_outdated", crash),
}
FLIPPED = {  # from here on the new field is the current one
    "columns swapped",
    "old columns dropped",
    "cells indexed",
    "pointer flipped",
    "old rows dropped",
}
CRASHES = [
    pytest.param(layout, step, *what, first, id=f"{layout}-{step}{'-first' * first}")
    for layout, steps in (("columns", COLUMN_STEPS), ("companion", COMPANION_STEPS))
    for step, what in steps.items()
    for first in ((False,) if step in FLIPPED else (False, True))
]


@pytest.mark.parametrize(("layout", "step", "owner", "method", "replacement", "first"), CRASHES)
def test_a_crash_leaves_a_whole_field(
    table, database, monkeypatch, layout, step, owner, method, replacement, first
):
    if not first:
        old = hits(EnergyTable(table).build(EnergyConfig(bits=8), layout=layout))
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, replacement)
        with pytest.raises(Crash):
            EnergyTable(table).build(EnergyConfig(bits=2), layout=layout)

    table.add(rows_of(2, start=N))  # users keep writing
    table.delete(f"id >= {N}")
    reopened = EnergyTable(database.open_table("pages"))
    flipped = step in FLIPPED
    if first and not flipped:
        with pytest.raises(NotBuiltError, match="build"):
            hits(reopened)
    else:
        got = hits(reopened)
        assert reopened.info().stale == 0
        assert reopened.info().config["bits"] == (2 if flipped else 8)
        if not flipped:
            assert got == old

    reopened.build(EnergyConfig(bits=2), layout=layout)
    fresh = hits(reopened)
    if flipped:
        assert got == fresh
    generation = 3 - first
    assert reopened.info().generation == generation
    stored = set(database.open_table("pages__energy").to_arrow()["generation"].to_pylist())
    assert stored == {1 if flipped else generation - 1, generation}  # what broke off, for a day
    table.checkout_latest()
    in_table = [name for name in table.schema.names if name.startswith("energy_")]
    assert in_table == (ENERGY if layout == "columns" else [])


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_leftovers_of_broken_builds_go_after_a_day(table, database, monkeypatch, layout):
    companions = ["pages__energy", "pages__energy_rows"][: 1 + (layout == "companion")]
    owner, step = (ColumnLayout, "_swap") if layout == "columns" else (CompanionLayout, "_flip")
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, crash)
        with pytest.raises(Crash):
            EnergyTable(table).build(layout=layout)

    def generations():
        return [
            set(database.open_table(n).to_arrow()["generation"].to_pylist()) for n in companions
        ]

    EnergyTable(table).build(layout=layout)
    assert generations() == [{1, 2}] * len(companions)
    for name in companions:
        database.open_table(name).update(where="generation = 1", values={"written": 0})
    EnergyTable(table).build(layout=layout)
    assert generations() == [{3}] * len(companions)


# -- other writers


def test_rows_that_arrive_during_the_build(table, database, monkeypatch):
    other = database.open_table("pages")
    original = column_layout._vector_files
    calls = []

    def write_first(dataset, pointer):
        calls.append(dataset.version)
        if len(calls) == 1:  # after the table was read, before its columns are added
            other.add(rows_of(3, start=N))
            other.update(where="id = 8", values={"vector": embed(["river"])[0].tolist()})
            other.delete("id = 9")
        return original(dataset, pointer)

    monkeypatch.setattr(column_layout, "_vector_files", write_first)
    energy = EnergyTable(table).build()
    assert max(calls) > calls[0]
    info = energy.info()
    assert (info.rows, info.stale, info.n_fitted) == (N + 2, 0, N)
    assert energy.search("river").limit(1).to_list()[0]["id"] == 8
    assert energy.search(text_of(N + 2)).limit(1).to_list()[0]["id"] == N + 2
    assert 9 not in [row["id"] for row in hits(energy, k=1000)]
    assert table.count_rows("energy_lambda IS NULL") == 0


def test_a_commit_that_always_loses_is_reported(table, monkeypatch):
    def lose(*args):
        raise RuntimeError("Retryable commit conflict for version 9")

    monkeypatch.setattr(column_layout, "_vector_files", lose)
    with pytest.raises(RuntimeError, match="commit conflict"):
        EnergyTable(table).build()
    assert not set(ENERGY) & set(table.schema.names)


@pytest.mark.parametrize(
    ("layout", "owner", "step"),
    [("columns", ColumnLayout, "_swap"), ("companion", CompanionLayout, "_flip")],
)
def test_two_builds_at_once(table, database, monkeypatch, layout, owner, step):
    """The second runs whole in the middle of the first; the last one to publish stays."""
    original = getattr(owner, step)
    second = EnergyTable(database.open_table("pages"))
    begun = []

    def interrupted(self, *arguments):
        if not begun:
            begun.append(True)
            second.build(EnergyConfig(bits=8), layout=layout)
            assert len(hits(second)) == 10
        original(self, *arguments)

    monkeypatch.setattr(owner, step, interrupted)
    first = EnergyTable(table).build(EnergyConfig(bits=2), layout=layout)
    assert hits(second) == hits(first)
    assert first.info().config["bits"] == second.info().config["bits"] == 2
    assert first.info().stale == 0
    in_table = [name for name in table.schema.names if name.startswith("energy_")]
    assert in_table == (ENERGY if layout == "columns" else [])


def test_a_build_elsewhere_is_noticed(table, database):
    mine = EnergyTable(table).build(EnergyConfig(bits=1))
    hits(mine)
    theirs = EnergyTable(database.open_table("pages")).build(EnergyConfig(bits=8))
    assert hits(mine) == hits(theirs)
    assert (mine.info().generation, mine.info().config["bits"]) == (2, 8)


def test_unchanged_tables_are_not_read_again(table, monkeypatch):
    energy = EnergyTable(table).build()
    first = hits(energy)
    monkeypatch.setattr(ColumnLayout, "load", crash)
    assert hits(energy) == first
    table.add(rows_of(1, start=N))
    with pytest.raises(Crash):
        hits(energy)


def test_vectors_are_read_only_where_files_changed(table, database, monkeypatch):
    EnergyTable(table).build()
    read = []
    original = column_layout.vectors_of

    def count(rows, column, dim):
        read.append(rows.num_rows)
        return original(rows, column, dim)

    monkeypatch.setattr(column_layout, "vectors_of", count)

    def reopened():
        read.clear()
        energy = EnergyTable(database.open_table("pages"))
        hits(energy)
        return energy

    reopened()
    assert read == []
    table.add(rows_of(4, start=N))
    energy = reopened()
    assert read == [4]
    energy.refresh()
    reopened()
    assert read == []
    table.checkout_latest()
    for _ in range(2):  # indexes the new rows, then compacts all
        table.optimize()
    assert len(table.to_lance().get_fragments()) == 1
    energy = reopened()
    assert read == [N + 4]
    energy.refresh()
    reopened()
    assert read == []


# -- damage and strangers


def test_damaged_artefacts(table, database):
    EnergyTable(table).build()
    stored = database.open_table("pages__energy")
    good = stored.to_arrow()
    blob = bytearray(good["data"][0].as_py())
    blob[len(blob) // 2] ^= 1
    stored.update(where="generation = 1", values={"data": bytes(blob)})
    with pytest.raises(CorruptFieldError, match=r"checksum.*build\(\)"):
        hits(EnergyTable(table))
    stored.delete("true")
    with pytest.raises(CorruptFieldError, match=r"0 chunks, expected 1.*build\(\)"):
        hits(EnergyTable(table))
    database.drop_table("pages__energy")
    with pytest.raises(CorruptFieldError, match=r"missing.*build\(\)"):
        hits(EnergyTable(table))
    assert EnergyTable(table).build().info().generation == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format version 99, expected 1"),
        ({"code_bytes": 7}, "expected 11 bytes a row"),
        ({"sha256": "0" * 64}, "0 chunks, expected 1"),
    ],
)
def test_damaged_pointer(table, changes, message):
    EnergyTable(table).build()
    rewrite_pointer(table, **changes)
    with pytest.raises(CorruptFieldError, match=message):
        hits(EnergyTable(table))
    assert len(hits(EnergyTable(table).build())) == 10


def test_unreadable_pointer():
    with pytest.raises(CorruptFieldError, match="unreadable"):
        Pointer.from_json("{")
    with pytest.raises(CorruptFieldError, match="lacks 'generation'"):
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
    EnergyTable(table).build()
    rewrite_pointer(table, dim=32)
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
    with pytest.raises(NotBuiltError, match="belongs to the vector column 'second'"):
        EnergyTable(table, "vector").search(rows[3]["vector"]).to_arrow()


def test_columns_of_the_user_are_not_taken(database):
    rows = [{**row, "energy_cell": 5} for row in plain_rows(N)]
    table = database.create_table("pages", rows)
    with pytest.raises(InvalidInputError, match=r"\['energy_cell'\].*layout='companion'"):
        EnergyTable(table).build()
    assert table.schema.names[-1] == "energy_cell"
    energy = EnergyTable(table).build(layout="companion")
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


def test_a_table_made_anew_has_no_field(table, database):
    EnergyTable(table).build()
    again = database.create_table("pages", plain_rows(N), mode="overwrite")
    energy = EnergyTable(again)
    with pytest.raises(NotBuiltError):
        energy.search(embed(["x"])[0]).to_arrow()
    assert energy.build().info().generation == 2


def test_overwriting_rows_drops_the_field(table):
    energy = EnergyTable(table).build()
    energy.add(pa.Table.from_pylist(plain_rows(N)), mode="overwrite")
    table.checkout_latest()
    assert not set(ENERGY) & set(table.schema.names)
    with pytest.raises(NotBuiltError):
        hits(energy)


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
        sys.path.insert(0, {str(__import__("pathlib").Path(__file__).parent)!r})
        import lancedb, lancedb_data
        from energy_lancedb import EnergyTable
        light = "torch" not in sys.modules
        energy = EnergyTable(lancedb.connect({str(tmp_path)!r}).open_table("pages"))
        before = energy.search("heart plain heart").select(["id"]).limit(10).to_list()
        energy.add(lancedb_data.rows_of(2, start={N}))
        found = energy.search(lancedb_data.text_of({N} + 1)).limit(1).to_list()[0]["id"]
        print(json.dumps([before, found, energy.info().stale, light]))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
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
