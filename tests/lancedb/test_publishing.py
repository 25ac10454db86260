"""Writing a field: crashes, conflicts, other writers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from energy_lancedb import EnergyTable, column_layout
from energy_lancedb.artefacts import Artefacts
from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.companion_layout import CompanionLayout
from support.lancedb_data import (
    DIM,
    ENERGY,
    N,
    embed,
    hits,
    plain_rows,
    rows_of,
    text_of,
)

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.errors import InvalidInputError, NotBuiltError

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
        assert len(reopened.info().pending) == 0
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
    assert (info.rows, len(info.pending), info.n_fitted) == (N + 2, 0, N)
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
    assert len(first.info().pending) == 0
    in_table = [name for name in table.schema.names if name.startswith("energy_")]
    assert in_table == (ENERGY if layout == "columns" else [])


@pytest.mark.parametrize("layout", ["columns", "companion"])
@pytest.mark.parametrize(
    ("verb", "step"), [("build", "fit"), ("refit", "refit"), ("maintain",) * 2]
)
def test_other_threads_go_on_while_a_field_is_fitted(table, monkeypatch, layout, verb, step):
    """They search the former field, add and delete, on the same object."""
    energy = EnergyTable(table).build(EnergyConfig(bits=8), layout=layout)
    rng = np.random.default_rng(3)
    drifted = np.eye(DIM, dtype=np.float32)[0] + rng.normal(0, 0.1, (80, DIM))
    rows = zip(plain_rows(80, start=N), drifted.astype(np.float32), strict=True)
    energy.add([{**row, "vector": vector} for row, vector in rows])
    former, original, found = hits(energy), getattr(EnergyIndex, step), []

    def meanwhile():
        found.append(hits(energy))
        energy.add(rows_of(1, start=1000))
        energy.delete("id = 9")
        found.append(hits(energy, text_of(1000), 1)[0]["id"])

    def interrupted(*arguments, **options):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(meanwhile).result(timeout=120)
        return original(*arguments, **options)

    monkeypatch.setattr(EnergyIndex, step, interrupted)
    options = {"layout": layout} if verb == "build" else {}
    getattr(energy, verb)(**options)
    assert found == [former, 1000]
    info = energy.info()
    assert (info.rows, len(info.pending), info.generation) == (N + 80, 0, 2)
    assert hits(energy, text_of(1000), 1)[0]["id"] == 1000
    assert 9 not in [row["id"] for row in hits(energy, k=1000)]
    assert energy.verify() == []


def test_a_version_that_is_checked_out_during_a_fit_stays(table, monkeypatch):
    energy = EnergyTable(table).build(EnergyConfig(bits=8))
    former, version, original = hits(energy), table.version, EnergyIndex.refit

    def interrupted(*arguments, **options):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(energy.checkout, version).result(timeout=120)
        return original(*arguments, **options)

    monkeypatch.setattr(EnergyIndex, "refit", interrupted)
    with pytest.raises(InvalidInputError, match="checked out"):
        energy.refit(EnergyConfig(bits=2))
    assert hits(energy) == former
    energy.checkout_latest()
    assert energy.verify() == []


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
