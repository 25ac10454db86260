"""Rows that come, change and go, through the plugin and behind its back, in both layouts."""

import struct
import threading
from datetime import timedelta

import lancedb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable
from energy_lancedb.keeper import TableKeeper
from energy_lancedb.pointer import pointer_of
from support.equality import alike_but_for_ties
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

from energy_plugin.energy import EnergyColumns, EnergyIndex
from energy_plugin.energy.codec.rotation import splitmix64
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import CorruptFieldError

N = 120
LAYOUTS = ("columns", "companion")


@pytest.fixture(params=LAYOUTS)
def energy(request, tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    return EnergyTable(table).build(layout=request.param)


def nearest(energy, text):
    return energy.search(text).limit(1).to_list()[0]["id"]


def ids(energy, k=10_000):
    return sorted(row["id"] for row in energy.search("wing").limit(k).select(["id"]).to_list())


def assert_fresh(energy):
    """Nothing waits, and every row's columns are those of its own vector."""
    info = energy.info()
    assert (len(info.pending), info.rows) == (0, energy.table.count_rows())
    snapshot = energy._live.snapshot()
    rows = energy.table.search().select(["vector", "_rowid"]).to_arrow()
    vectors = np.stack(rows["vector"].to_numpy(zero_copy_only=False))
    numbers, known = snapshot.find_rowids(rows["_rowid"].to_numpy())
    assert known.all()
    np.testing.assert_array_equal(snapshot.fingerprints[numbers], fingerprint(vectors))
    lambda_, dispersion = snapshot.field.taumode(vectors)
    columns = snapshot.columns_of(numbers)
    assert alike_but_for_ties(columns.lambda_, lambda_)
    assert alike_but_for_ties(columns.dispersion, dispersion)


def test_added_through_the_plugin(energy):
    energy.add(rows_of(5, start=N))
    assert_fresh(energy)
    assert nearest(energy, text_of(N + 3)) == N + 3
    if energy.info().layout == "columns":
        assert energy.table.count_rows("energy_lambda IS NULL") == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: rows,
        pa.Table.from_pylist,
        pd.DataFrame,
        pl.DataFrame,
        lambda rows: [text_schema(ngrams())(**row, vector=embed([row["text"]])[0]) for row in rows],
        lambda rows: (pa.RecordBatch.from_pylist([row]) for row in rows),
    ],
    ids=["dicts", "arrow", "pandas", "polars", "pydantic", "batches"],
)
def test_every_form_of_data_that_lancedb_takes(energy, make):
    energy.add(make(rows_of(4, start=500)))
    assert_fresh(energy)
    assert [nearest(energy, text_of(i)) for i in range(500, 504)] == [500, 501, 502, 503]


def test_explicit_vectors_are_kept(energy):
    vector = embed(["something else entirely"])[0]
    energy.add([{**rows_of(1, start=N)[0], "vector": vector}])
    assert_fresh(energy)
    assert energy.search(vector).limit(1).to_list()[0]["id"] == N


def test_a_damaged_field_is_found_before_rows_are_written(energy, tmp_path):
    lancedb.connect(tmp_path).drop_table("pages__energy")
    again = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    with pytest.raises(CorruptFieldError, match=r"missing.*build\(\)"):
        again.add(rows_of(1, start=N))
    assert again.table.count_rows() == N
    again.build()
    again.add(rows_of(1, start=N))
    assert_fresh(again)


def test_rows_count_as_added_though_their_columns_fail(energy, monkeypatch, caplog):
    def fail(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(TableKeeper, "refresh", fail)
        assert energy.add(rows_of(2, start=N)).version > 1
    assert "refresh() writes them" in caplog.text
    assert nearest(energy, text_of(N + 1)) == N + 1
    assert len(energy.refresh()) == 2
    assert_fresh(energy)


def test_added_behind_the_back(energy):
    energy.table.add(rows_of(7, start=N))
    assert len(energy.info().pending) == 7
    assert [nearest(energy, text_of(N + i)) for i in range(7)] == [N + i for i in range(7)]
    row = energy.search(text_of(N)).select(["id", "energy_lambda"]).limit(1).to_list()[0]
    served = row["energy_lambda"]
    assert served > 0
    assert len(energy.refresh()) == 7
    assert len(energy.refresh()) == 0
    assert_fresh(energy)
    again = energy.search(text_of(N)).select(["id", "energy_lambda"]).limit(1).to_list()[0]
    assert again["energy_lambda"] == served


def test_vector_updated_behind_the_back(energy):
    target = embed(["river river river quiet"])[0]
    energy.table.update(where="id = 30", values={"vector": target.tolist()})  # a wing until now
    assert len(energy.info().pending) == 1
    assert energy.search(target).limit(1).to_list()[0]["id"] == 30
    assert 30 not in [r["id"] for r in energy.search(text_of(30)).limit(3).to_list()]
    assert len(energy.refresh()) == 1
    assert_fresh(energy)
    assert energy.search(target).limit(1).to_list()[0]["id"] == 30


def test_other_columns_updated(energy):
    energy.table.update(where="id = 30", values={"topic": "changed"})
    assert len(energy.info().pending) == 0
    hit = energy.search(text_of(30)).where("topic = 'changed'").to_list()
    assert [row["id"] for row in hit] == [30]
    assert_fresh(energy)


def test_upserted_behind_the_back(energy):
    new = [{**row, "text": "metal heavy metal broken"} for row in rows_of(1, start=12)]
    merge = energy.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(new + rows_of(2, start=N))
    assert len(energy.info().pending) == 3
    assert nearest(energy, "metal heavy metal broken") == 12
    assert nearest(energy, text_of(N + 1)) == N + 1
    assert len(energy.refresh()) == 3
    assert_fresh(energy)


def test_vectors_merged_in_place(tmp_path):
    """A merge of id and vector alone, with an index on id, rewrites one column of a fragment."""
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    table.create_index("id", config=lancedb.index.BTree())
    energy = EnergyTable(table).build()
    before = energy.search(embed([text_of(5)])[0]).with_row_id().limit(1).to_list()[0]
    data = pa.table(
        {
            "id": [5, 6],
            "vector": pa.array(embed(["music", "court"]).tolist(), pa.list_(pa.float32(), DIM)),
        }
    )
    table.merge_insert("id").when_matched_update_all().execute(data)
    assert len(energy.info().pending) == 2
    assert energy.search(embed(["music"])[0]).limit(1).to_list()[0]["id"] == 5
    assert before["id"] == 5
    assert len(energy.refresh()) == 2
    assert_fresh(energy)


def test_deleted_rows_never_appear(energy):
    energy.delete("id < 10")
    assert ids(energy) == list(range(10, N))
    energy.table.delete("id >= 100")
    assert ids(energy) == list(range(10, 100))
    assert_fresh(energy)
    energy.add(rows_of(10))
    assert ids(energy) == list(range(100))
    energy.table.delete("true")
    assert ids(energy) == []
    names = energy.search("wing").to_arrow().column_names
    assert names[-2:] == ["_distance", "_relevance"]
    energy.add(rows_of(3))
    assert nearest(energy, text_of(2)) == 2


def test_compaction_keeps_everything(energy):
    for start in range(N, N + 40, 10):
        energy.add(rows_of(10, start=start))
    energy.table.delete("id = 7")
    before = energy.search("heart old heart").limit(20).to_arrow()
    energy.table.optimize(cleanup_older_than=timedelta(0))
    after = energy.search("heart old heart").limit(20).to_arrow()
    assert after["id"].to_pylist() == before["id"].to_pylist()
    np.testing.assert_allclose(
        after["_distance"].to_numpy(), before["_distance"].to_numpy(), atol=1e-6
    )
    assert_fresh(energy)


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_rows_without_a_vector_are_left_out(tmp_path, layout):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N), schema=plain_schema())
    nothing = [{**row, "vector": None} for row in rows_of(3, start=N)]
    table.add(nothing)
    energy = EnergyTable(table).build(layout=layout)
    info = energy.info()
    assert (info.rows, info.without_vector, len(info.pending)) == (N, 3, 0)
    vector = embed([text_of(4)])[0]
    found = energy.search(vector).limit(1000).to_arrow()["id"].to_pylist()
    assert sorted(found) == list(range(N))
    energy.table.merge_insert("id").when_matched_update_all().execute(
        pa.Table.from_pylist([{**rows_of(1, start=4)[0], "vector": None}], schema=plain_schema()),
        on_bad_vectors="null",
    )
    # before and after the columns of the emptied row are cleared, which are in the table
    for waiting in (1, 0) if layout == "columns" else (0,):
        info = energy.info()
        assert (info.rows, info.without_vector) == (N - 1, 4)
        assert len(info.pending.removed) == len(info.pending) == waiting
        assert 4 not in energy.search(vector).limit(1000).to_arrow()["id"].to_pylist()
        assert energy.refresh() == info.pending


def test_another_handle_writes(energy, tmp_path):
    other = lancedb.connect(tmp_path).open_table("pages")
    other.add(rows_of(2, start=N))
    other.delete("id = 0")
    assert ids(energy) == list(range(1, N + 2))
    theirs = EnergyTable(other)
    assert len(theirs.info().pending) == 2
    assert len(theirs.refresh()) == 2
    assert nearest(energy, text_of(N + 1)) == N + 1
    assert ids(energy) == ids(theirs)


def test_stored_values_are_those_of_the_core(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    EnergyTable(table).build(layout="columns")
    stored = table.to_arrow()
    vectors = np.stack(stored["vector"].to_numpy(zero_copy_only=False))
    columns: EnergyColumns = EnergyIndex.fit(vectors).columns
    np.testing.assert_array_equal(stored["energy_lambda"].to_numpy(), columns.lambda_)
    np.testing.assert_array_equal(stored["energy_dispersion"].to_numpy(), columns.dispersion)
    np.testing.assert_array_equal(stored["energy_cell"].to_numpy(), columns.cell)
    packed = np.frombuffer(b"".join(stored["energy_residual"].to_pylist()), np.uint8)
    packed = packed.reshape(N, -1)
    np.testing.assert_array_equal(packed[:, :-4], columns.residual)
    pointer = pointer_of(table.schema)
    read, prints = pointer.format.from_arrow(stored)
    np.testing.assert_array_equal(read.residual, columns.residual)
    np.testing.assert_array_equal(prints, fingerprint(vectors))
    # the seal, from its definition in `energy_lancedb.columns`
    factors = [int(c) | 1 for c in splitmix64(0x656E6572, 3 + (packed.shape[1] - 1) // 4)]
    for i in range(0, N, 17):
        code = packed[i, :-4].tobytes()
        code += bytes(-len(code) % 4)
        scalars = struct.pack("<ffi", columns.lambda_[i], columns.dispersion[i], columns.cell[i])
        words = struct.unpack(f"<{len(factors)}I", scalars + code)
        digest = sum(w * c for w, c in zip(words, factors, strict=True)) % 2**64 >> 32
        seal = int(prints[i]) ^ int(pointer.sha256[:8], 16) ^ digest
        assert packed[i, -4:].tobytes() == seal.to_bytes(4, "little")


def test_stable_row_ids(tmp_path):
    database = lancedb.connect(
        tmp_path, storage_options={"new_table_enable_stable_row_ids": "true"}
    )
    table = database.create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build()
    table.add(plain_rows(5, start=N))
    table.update(where="id = 3", values={"vector": embed(["music"])[0].tolist()})
    assert len(energy.info().pending) == 6
    assert len(energy.refresh()) == 6
    table.optimize()
    assert_fresh(energy)
    assert energy.search(embed(["music"])[0]).limit(1).to_list()[0]["id"] == 3


def test_memory_database():
    table = lancedb.connect("memory://").create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    energy = EnergyTable(table).build()
    assert energy.info().layout == "companion"
    assert nearest(energy, text_of(11)) == 11
    energy.add(rows_of(2, start=N))
    assert_fresh(energy)
    energy.build()
    assert energy.info().generation == 2
    assert nearest(energy, text_of(N + 1)) == N + 1


def test_the_index_follows_changes_without_being_made_anew(energy):
    index = energy._live.snapshot().index
    energy.add(rows_of(6, start=N))
    energy.table.update(where="id = 4", values={"vector": embed(["music"])[0].tolist()})
    energy.delete("id < 3")
    assert len(energy.refresh()) == 1
    assert energy._live.snapshot().index is index
    assert ids(energy) == list(range(3, N + 6))
    assert_fresh(energy)
    energy.delete("id > 20")  # most row numbers are out of use now
    assert energy._live.snapshot().index is not index
    assert ids(energy) == list(range(3, 21))


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_changes_ends_where_a_new_process_begins(energy, tmp_path, seed):
    """An index that followed the changes equals one read from the database."""
    rng = np.random.default_rng(seed)
    live, new = list(range(N)), N
    for _ in range(8):
        match rng.integers(5):
            case 0:
                energy.add(rows_of(3, start=new))
                live, new = [*live, *range(new, new + 3)], new + 3
            case 1:
                energy.table.add(rows_of(2, start=new))
                live, new = [*live, *range(new, new + 2)], new + 2
            case 2:
                gone = int(rng.choice(live))
                energy.table.delete(f"id = {gone}")
                live.remove(gone)
            case 3:
                vector = rng.normal(size=DIM).astype(np.float32).tolist()
                energy.table.update(where=f"id = {rng.choice(live)}", values={"vector": vector})
            case 4:
                energy.table.optimize()
        assert ids(energy) == sorted(live)
    energy.refresh()
    followed = energy.search("heart old heart").limit(50).to_arrow()
    table = lancedb.connect(tmp_path).open_table("pages")
    opened = EnergyTable(table).search("heart old heart").limit(50).to_arrow()
    assert opened["id"].to_pylist() == followed["id"].to_pylist()
    np.testing.assert_allclose(
        opened["_distance"].to_numpy(), followed["_distance"].to_numpy(), atol=1e-6
    )
    assert_fresh(energy)


def test_threads_search_while_rows_change(energy):
    """Every answer is whole: ordered, and without a row that was deleted before it began."""
    failures = []
    stop = threading.Event()

    def search(text):
        while not stop.is_set():
            rows = energy.search(text).select(["id"]).limit(20).to_list()
            distances = [row["_distance"] for row in rows]
            found = [row["id"] for row in rows]
            if len(rows) != 20 or distances != sorted(distances) or set(found) & set(range(5)):
                failures.append(rows)

    energy.delete("id < 5")
    threads = [threading.Thread(target=search, args=(topic,)) for topic in ("wing", "music")]
    for thread in threads:
        thread.start()
    for i in range(6):
        energy.add(rows_of(2, start=N + 2 * i))
        energy.delete(f"id = {10 + i}")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_fresh(energy)
