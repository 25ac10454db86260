"""A field belongs to one table: copies, clones, branches, tags and renamed tables."""

import shutil
from datetime import timedelta

import lancedb
import pytest
from energy_lancedb import EnergyTable
from energy_lancedb.claims import Claims
from support.lancedb_data import N, hits, names, rows_of, text_of

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import CorruptFieldError, NotBuiltError

LATER = EnergyConfig(bits=8)


def clone(database, table, folder):
    return database.clone_table("copy", str(folder / "pages.lance"))


def copied_folder(database, table, folder):
    shutil.copytree(folder / "pages.lance", folder / "copy.lance")
    return database.open_table("copy")


def copied_rows(database, table, folder):
    return database.create_table("copy", table.to_arrow())


def branch(database, table, folder):
    return table.branches.create("copy")


@pytest.fixture(params=("columns", "companion"))
def layout(request):
    return request.param


@pytest.fixture
def energy(table, layout):
    return EnergyTable(table).build(EnergyConfig(bits=2), layout=layout)


def ways(layout):
    """Those that take the pointer along; metadata of a table are not in its rows."""
    return (clone, copied_folder, branch) + ((copied_rows,) if layout == "columns" else ())


def copies(database, energy, layout, folder):
    """A copy in each way, one after the other; each is gone before the next."""
    for way in ways(layout):
        energy.table.checkout_latest()
        yield way(database, energy.table, folder)
        if way is branch:
            energy.table.branches.delete("copy")
        else:
            database.drop_table("copy")


def same_answers(energy, expected):
    found = hits(energy)
    assert [row["id"] for row in found] == [row["id"] for row in expected]


def kinds(energy):
    """Of the findings; an index on the cells is not among what is copied."""
    return [found.kind for found in energy.verify() if "no index" not in found.message]


def test_a_copy_answers_from_the_field_of_the_original(energy, database, layout, tmp_path):
    expected, stored = hits(energy), names(database)
    for copy in copies(database, energy, layout, tmp_path):
        reader = EnergyTable(copy)
        same_answers(reader, expected)
        assert energy.verify() == []
        assert kinds(reader) == ([] if copy.name == "pages" else ["borrowed"])
        assert set(names(database)) - {"copy"} == set(stored)


def test_what_happens_to_a_copy_leaves_the_original(energy, database, layout, tmp_path):
    expected = hits(energy)
    for copy in copies(database, energy, layout, tmp_path):
        own = EnergyTable(copy)
        own.build(LATER)
        own.maintain()
        own.optimize(cleanup_older_than=timedelta(0))
        own.drop()
        with pytest.raises(NotBuiltError):
            hits(own)
        fresh = EnergyTable(database.open_table("pages"))
        assert fresh.verify() == []
        same_answers(fresh, expected)
    energy.drop()
    assert names(database) == ["pages"]


def test_what_happens_to_the_original_leaves_the_copy(energy, database, layout, tmp_path):
    for copy in copies(database, energy, layout, tmp_path):
        expected = hits(EnergyTable(copy))
        energy.build(LATER, layout=layout)
        energy.refit()
        if layout == "companion":  # else the files of the columns go, which a clone shares
            energy.optimize(cleanup_older_than=timedelta(0))
        for name in names(database):
            if "__energy" in name:
                database.open_table(name).optimize(cleanup_older_than=timedelta(0))
        same_answers(EnergyTable(copy), expected)
        energy.drop()
        same_answers(EnergyTable(copy), expected)
        energy.build(EnergyConfig(bits=2), layout=layout)


def test_a_copy_that_is_written_to_takes_the_field_along(energy, database, layout, tmp_path):
    expected = hits(energy)
    for copy in copies(database, energy, layout, tmp_path):
        own = EnergyTable(copy)
        own.add(rows_of(3, start=N))
        assert kinds(own) == []
        assert hits(own, text_of(N + 2), 1)[0]["id"] == N + 2
        assert energy.info().rows == N
        energy.drop()
        assert kinds(own) == []
        assert own.info().rows == N + 3
        own.drop()
        energy.build(EnergyConfig(bits=2), layout=layout)
        same_answers(energy, expected)


def test_repair_makes_a_copy_independent(energy, database, tmp_path):
    copy = EnergyTable(copied_folder(database, energy.table, tmp_path))
    expected = hits(copy)
    assert copy.repair().sound
    energy.drop()
    database.drop_table("pages")
    assert copy.verify() == []
    same_answers(copy, expected)


def test_a_copy_of_the_rows_has_no_field(table, database):
    EnergyTable(table).build()
    copy = EnergyTable(database.create_table("copy", table.to_arrow()))
    assert [finding.kind for finding in copy.verify()] == ["missing"]
    with pytest.raises(NotBuiltError, match=r"'copy' has no energy field.*build\(\)"):
        hits(copy, [0.5] * 48)
    assert copy.build().verify() == []


def test_a_copy_in_another_database_asks_for_a_build(energy, table, layout, tmp_path):
    elsewhere = lancedb.connect(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "pages.lance", tmp_path / "elsewhere" / "pages.lance")
    copy = EnergyTable(elsewhere.open_table("pages"))
    with pytest.raises(CorruptFieldError, match=r"missing.*build\(\)"):
        hits(copy)
    assert copy.build().verify() == []
    assert energy.verify() == []


def test_a_database_that_was_moved_goes_on(energy, tmp_path):
    expected = hits(energy)
    place = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.move(tmp_path, place)
    moved = EnergyTable(lancedb.connect(place).open_table("pages"))
    same_answers(moved, expected)
    moved.add(rows_of(1, start=N))
    assert moved.verify() == []


def test_a_renamed_table_keeps_its_field(energy, database, layout, tmp_path):
    """LanceDB has no other way to rename a table than to move its folder."""
    expected = hits(energy)
    (tmp_path / "pages.lance").rename(tmp_path / "papers.lance")
    renamed = EnergyTable(database.open_table("papers"))
    same_answers(renamed, expected)
    assert renamed.verify() == []
    newer = database.create_table("pages", renamed.table.to_arrow().select(["id", "vector"]))
    EnergyTable(newer).build(LATER, layout=layout)
    assert kinds(EnergyTable(database.open_table("papers"))) == ["borrowed"]
    EnergyTable(newer).drop()
    same_answers(EnergyTable(database.open_table("papers")), expected)
    database.drop_table("pages")
    renamed.add(rows_of(1, start=N))
    assert renamed.verify() == []
    renamed.drop()
    own = [name for name in names(database) if name.startswith("papers")]
    assert own == ["papers"]


def test_a_renamed_table_that_is_dropped_leaves_nothing(energy, database, tmp_path):
    (tmp_path / "pages.lance").rename(tmp_path / "papers.lance")
    EnergyTable(database.open_table("papers")).drop()
    assert names(database) == ["papers"]


def test_nothing_is_deleted_where_another_table_cannot_be_read(energy, database, monkeypatch):
    """A table that does not open may point to any row."""

    def fail(self):
        raise RuntimeError("no permission")

    monkeypatch.setattr(Claims, "_read", fail)
    energy.drop()
    assert "pages__energy" in names(database)
    monkeypatch.undo()
    energy.drop()
    assert names(database) == ["pages"]


def test_a_build_on_a_branch_stays_there(table, database, layout):
    """By sample, as a large table is built: the rows of the branch and not those of main."""
    other = table.branches.create("copy")
    other.delete("id < 40")
    energy = EnergyTable(other).build(layout=layout, sample=30)
    assert energy.verify() == []
    assert energy.info().rows == N - 40
    with pytest.raises(NotBuiltError):
        hits(EnergyTable(database.open_table("pages")))
    energy.drop()
    assert names(database) == ["pages"]
