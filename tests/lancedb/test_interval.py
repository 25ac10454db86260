"""How old the view of a search may be."""

from datetime import timedelta

import lancedb
import pytest
from energy_lancedb import EnergyTable
from support.energy_data import clustered

from energy_plugin.errors import InvalidInputError

ROWS, NEW = clustered(200, 24)[0], clustered(3, 24, seed=9)[0]


@pytest.fixture
def table(tmp_path):
    data = [{"id": i, "vector": row} for i, row in enumerate(ROWS)]
    return lancedb.connect(tmp_path).create_table("rows", data)


def first(energy, vector):
    return energy.search(vector).limit(1).to_list()[0]["id"]


def test_a_view_may_be_as_old_as_the_interval(table, monkeypatch):
    energy = EnergyTable(table, read_consistency_interval=timedelta(hours=1)).build()
    other = lancedb.connect(table._conn.uri).open_table("rows")
    assert first(energy, ROWS[3]) == 3
    other.add([{"id": 900, "vector": NEW[0]}])
    looked = []
    newest = energy._live.host._newest
    monkeypatch.setattr(energy._live.host, "_newest", lambda: looked.append(1) or newest())
    assert first(energy, NEW[0]) != 900
    assert not looked
    energy.add([{"id": 901, "vector": NEW[1]}])
    assert first(energy, NEW[1]) == 901
    assert first(energy, NEW[0]) == 900  # seen on the way
    energy.delete("id = 901")
    assert first(energy, NEW[1]) != 901
    other.add([{"id": 902, "vector": NEW[2]}])
    assert first(energy, NEW[2]) != 902
    energy._live.interval = 1e-9
    assert first(energy, NEW[2]) == 902


def test_every_search_looks_without_an_interval(table):
    energy = EnergyTable(table).build()
    other = lancedb.connect(table._conn.uri).open_table("rows")
    other.add([{"id": 900, "vector": NEW[0]}])
    assert first(energy, NEW[0]) == 900


def test_a_view_of_an_older_version(table):
    energy = EnergyTable(table, read_consistency_interval=3600).build()
    version = table.version
    energy.add([{"id": 901, "vector": NEW[1]}])
    assert first(energy, NEW[1]) == 901
    energy.checkout(version)
    assert first(energy, NEW[1]) != 901
    energy.checkout_latest()
    assert first(energy, NEW[1]) == 901


@pytest.mark.parametrize("interval", [-1, "1 s", float("nan"), True])
def test_an_interval_is_a_time(table, interval):
    with pytest.raises(InvalidInputError, match="read_consistency_interval"):
        EnergyTable(table, read_consistency_interval=interval)
