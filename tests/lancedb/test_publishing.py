"""Writing a field: crashes, conflicts, other writers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from energy_lancedb import EnergyTable, column_layout
from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.host import ATTEMPTS
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
from support.moments import Crash, dying, once, seen

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.stored.moments import Moment, watching

LAYOUTS = ["columns", "companion"]

# -- crashes

BEFORE = [Moment.FIELD_WRITTEN, Moment.COLUMNS_WRITTEN]
AFTER = [Moment.FLIPPED, Moment.SWEPT]  # the new field is the current one
CRASHES = [
    *((layout, step, first) for layout in LAYOUTS for step in BEFORE for first in (False, True)),
    *((layout, step, False) for layout in LAYOUTS for step in AFTER),
    ("columns", Moment.INDEXED, False),
]


@pytest.mark.parametrize(("layout", "step", "first"), CRASHES)
def test_a_crash_leaves_a_whole_field(table, database, layout, step, first):
    if not first:
        old = hits(EnergyTable(table).build(EnergyConfig(bits=8), layout=layout))
    with dying(step), pytest.raises(Crash):
        EnergyTable(table).build(EnergyConfig(bits=2), layout=layout)

    table.add(rows_of(2, start=N))  # users keep writing
    table.delete(f"id >= {N}")
    reopened = EnergyTable(database.open_table("pages"))
    flipped = step not in BEFORE
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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_leftovers_of_broken_builds_go_after_a_day(table, database, layout):
    companions = ["pages__energy", "pages__energy_rows"][: 1 + (layout == "companion")]
    with dying(Moment.COLUMNS_WRITTEN), pytest.raises(Crash):
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


def test_rows_that_arrive_during_the_build(table, database):
    """They come after the table was read, before its columns are added."""
    other = database.open_table("pages")

    def write():
        other.add(rows_of(3, start=N))
        other.update(where="id = 8", values={"vector": embed(["river"])[0].tolist()})
        other.delete("id = 9")

    tries, listening = seen(Moment.AT_VERSION)
    with once(Moment.AT_VERSION, write), listening:
        energy = EnergyTable(table).build(layout="columns")
    assert len(tries) > 1  # the columns of the first version could not be committed
    info = energy.info()
    assert (info.rows, len(info.pending), info.n_fitted) == (N + 2, 0, N)
    assert energy.search("river").limit(1).to_list()[0]["id"] == 8
    assert energy.search(text_of(N + 2)).limit(1).to_list()[0]["id"] == N + 2
    assert 9 not in [row["id"] for row in hits(energy, k=1000)]
    assert table.count_rows("energy_lambda IS NULL") == 0


def test_a_commit_that_always_loses_is_reported(table):
    tries = []

    def lose(moment):
        if moment is Moment.AT_VERSION:
            tries.append(moment)
            raise RuntimeError("Retryable commit conflict for version 9")

    with watching(lose), pytest.raises(RuntimeError, match="commit conflict"):
        EnergyTable(table).build(layout="columns")
    assert len(tries) == ATTEMPTS
    assert not set(ENERGY) & set(table.schema.names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_builds_at_once(table, database, layout):
    """The second runs whole in the middle of the first; the last one to publish stays."""
    second = EnergyTable(database.open_table("pages"))

    def build():
        second.build(EnergyConfig(bits=8), layout=layout)
        assert len(hits(second)) == 10

    with once(Moment.COLUMNS_WRITTEN, build):
        first = EnergyTable(table).build(EnergyConfig(bits=2), layout=layout)
    assert hits(second) == hits(first)
    assert first.info().config["bits"] == second.info().config["bits"] == 2
    assert len(first.info().pending) == 0
    in_table = [name for name in table.schema.names if name.startswith("energy_")]
    assert in_table == (ENERGY if layout == "columns" else [])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("verb", ["build", "refit", "maintain"])
def test_other_threads_go_on_while_a_field_is_fitted(table, layout, verb):
    """They search the former field, add and delete, on the same object."""
    energy = EnergyTable(table).build(EnergyConfig(bits=8), layout=layout)
    rng = np.random.default_rng(3)
    drifted = np.eye(DIM, dtype=np.float32)[0] + rng.normal(0, 0.1, (80, DIM))
    rows = zip(plain_rows(80, start=N), drifted.astype(np.float32), strict=True)
    energy.add([{**row, "vector": vector} for row, vector in rows])
    former, found = hits(energy), []

    def meanwhile():
        found.append(hits(energy))
        energy.add(rows_of(1, start=1000))
        energy.delete("id = 9")
        found.append(hits(energy, text_of(1000), 1)[0]["id"])

    options = {"layout": layout} if verb == "build" else {}
    with once(Moment.FITTING, lambda: elsewhere(meanwhile)):
        getattr(energy, verb)(**options)
    assert found == [former, 1000]
    info = energy.info()
    assert (info.rows, len(info.pending), info.generation) == (N + 80, 0, 2)
    assert hits(energy, text_of(1000), 1)[0]["id"] == 1000
    assert 9 not in [row["id"] for row in hits(energy, k=1000)]
    assert energy.verify() == []


def elsewhere(call, *arguments):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call, *arguments).result(timeout=120)


def test_a_version_that_is_checked_out_during_a_fit_stays(table):
    energy = EnergyTable(table).build(EnergyConfig(bits=8))
    former, version = hits(energy), table.version
    checkout = once(Moment.FITTING, lambda: elsewhere(energy.checkout, version))
    with checkout, pytest.raises(InvalidInputError, match="checked out"):
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
    energy = EnergyTable(table).build(layout="columns")
    first = hits(energy)
    monkeypatch.setattr(ColumnLayout, "load", None)
    assert hits(energy) == first
    table.add(rows_of(1, start=N))
    with pytest.raises(TypeError):
        hits(energy)


def test_vectors_are_read_only_where_files_changed(table, database, monkeypatch):
    EnergyTable(table).build(layout="columns")
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
