"""Older versions, compaction and changes through EnergyTable: never two generations at once."""

from datetime import timedelta

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable
from support.lancedb_data import embed, hits, ngrams, rows_of, text_of, text_schema

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import CorruptFieldError, InvalidInputError, NotBuiltError

N = 90


@pytest.fixture(params=("columns", "companion"))
def energy(request, tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", schema=text_schema(ngrams()))
    table.add(rows_of(N))
    return EnergyTable(table).build(EnergyConfig(bits=8), layout=request.param)


def layout(energy):
    return energy.info().layout


def test_merge_insert(energy):
    new = [{**row, "text": "metal heavy metal broken"} for row in rows_of(1, start=12)]
    merge = energy.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    result = merge.execute(new + rows_of(2, start=N))
    assert (result.num_updated_rows, result.num_inserted_rows) == (1, 2)
    assert len(energy.info().pending) == 0
    assert hits(energy, "metal heavy metal broken", 1)[0]["id"] == 12
    assert hits(energy, text_of(N + 1), 1)[0]["id"] == N + 1


def test_update(energy):
    result = energy.update("id = 30", {"vector": embed(["river river river"])[0].tolist()})
    assert result.rows_updated == 1
    assert len(energy.info().pending) == 0
    assert hits(energy, "river river river", 1)[0]["id"] == 30
    energy.update(where="id < 5", values_sql={"year": "year + 1000"})
    assert energy.table.count_rows("year >= 3000") == 5
    assert len(energy.info().pending) == 0


def test_a_checked_out_version_has_the_field_it_had(energy):
    before, version = hits(energy), energy.table.version
    energy.delete("id < 40")
    energy.build(EnergyConfig(bits=2), layout=layout(energy))
    now = hits(energy)
    assert {row["id"] for row in now} <= set(range(40, N))
    energy.checkout(version)
    assert hits(energy) == before
    assert (energy.info().generation, energy.info().config["bits"]) == (1, 8)
    for write in (
        lambda: energy.add(rows_of(1, start=N)),
        lambda: energy.delete("true"),
        lambda: energy.update("id = 1", {"year": 1}),
        lambda: energy.merge_insert("id").when_matched_update_all().execute(rows_of(1)),
        energy.build,
        energy.refresh,
        energy.optimize,
        energy.drop,
    ):
        with pytest.raises(InvalidInputError, match=r"is checked out.*checkout_latest\(\)"):
            write()
    energy.table.checkout_latest()  # somebody else moves the handle
    assert hits(energy) == before
    energy.checkout_latest()
    assert hits(energy) == now
    assert energy.info().generation == 2


def test_tags(energy):
    energy.table.tags.create("first", energy.table.version)
    before = hits(energy)
    energy.add(rows_of(5, start=N))
    energy.checkout("first")
    assert hits(energy) == before
    energy.restore()
    assert hits(energy) == before
    assert energy.table.count_rows() == N


@pytest.mark.parametrize("through", ["plugin", "lancedb"])
def test_a_restored_version_serves_its_own_field(energy, through):
    before, version = hits(energy), energy.table.version
    energy.build(EnergyConfig(bits=2), layout=layout(energy))
    energy.add(rows_of(3, start=N))
    if through == "plugin":
        energy.restore(version)
        energy.optimize()
    else:
        energy.table.restore(version)
    for table in (energy, EnergyTable(energy._live.host.connection.open_table("pages"))):
        assert hits(table) == before
        info = table.info()
        assert (info.generation, info.rows, len(info.pending)) == (1, N, 0)
    energy.add(rows_of(3, start=N))
    assert hits(energy, text_of(N + 2), 1)[0]["id"] == N + 2
    energy.build(EnergyConfig(bits=4), layout=layout(energy))
    assert energy.info().generation >= 2
    assert energy.info().config["bits"] == 4


def test_a_version_from_before_the_build_has_none(energy):
    energy.checkout(2)
    with pytest.raises(NotBuiltError):
        hits(energy)
    energy.restore()
    with pytest.raises(NotBuiltError):
        hits(energy)
    energy.build()
    assert len(hits(energy)) == 10


def test_a_restored_field_outlives_the_cleaning_of_old_versions(energy):
    version = energy.table.version
    before = hits(energy)
    energy.build(EnergyConfig(bits=2), layout=layout(energy))
    energy.restore(version)
    energy.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    assert len(energy.table.list_versions()) <= 2
    again = EnergyTable(energy._live.host.connection.open_table("pages"))
    np.testing.assert_allclose(
        [row["_distance"] for row in hits(again)],
        [row["_distance"] for row in before],
        atol=1e-6,
    )


def test_a_field_that_was_cleaned_away_is_reported(energy):
    version = energy.table.version
    energy.build(EnergyConfig(bits=2), layout=layout(energy))
    connection = energy._live.host.connection
    for name in ("pages__energy", "pages__energy_rows"):
        if name in connection.list_tables().tables:
            connection.open_table(name).optimize(
                cleanup_older_than=timedelta(0), delete_unverified=True
            )
    with pytest.raises(CorruptFieldError, match=r"build\(\)"):
        energy.restore(version)
    assert not energy.build(layout="columns").info().pending


def test_a_tagged_version_keeps_its_field(energy):
    former = hits(energy)
    energy.table.tags.create("kept", energy.table.version)
    energy.build(EnergyConfig(bits=2), layout=layout(energy))
    energy.optimize()
    connection = energy._live.host.connection
    for name in ("pages__energy", "pages__energy_rows"):
        if name in connection.list_tables().tables:
            connection.open_table(name).optimize(
                cleanup_older_than=timedelta(0), delete_unverified=True
            )
    energy.restore("kept")
    assert hits(energy) == former
    assert energy.verify() == []


def test_compaction_keeps_the_columns_right(energy):
    for start in range(N, N + 30, 10):
        energy.add(rows_of(10, start=start))
    energy.delete("id = 7")
    before = hits(energy, k=20)
    for _ in range(2):  # indexes the new rows, then compacts all
        energy.optimize(cleanup_older_than=timedelta(0))
    assert [row["id"] for row in hits(energy, k=20)] == [row["id"] for row in before]
    assert len(energy.info().pending) == 0
    if layout(energy) == "columns":
        fragments = energy.table.to_lance().get_fragments()
        assert len(fragments) == 1
