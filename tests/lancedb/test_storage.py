"""What stands in the database: types, chunks, generations, layouts."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable
from energy_lancedb.artefacts import Artefacts
from support.lancedb_data import (
    DIM,
    ENERGY,
    hits,
    names,
    plain_rows,
)

from energy_plugin.energy import EnergyConfig
from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.errors import (
    CorruptFieldError,
    NotBuiltError,
)


def test_columns_types_index_and_companion(table, database):
    before = table.schema
    energy = EnergyTable(table).build(EnergyConfig(bits=2), layout="columns")
    info = energy.info()
    schema = table.schema
    assert schema.names == [*before.names, *ENERGY]
    assert all(schema.field(name).nullable for name in ENERGY)
    assert [schema.field(name).type for name in ENERGY[:3]] == [
        pa.float32(),
        pa.float32(),
        pa.int32(),
    ]
    assert schema.field("energy_residual").type == pa.binary(code_bytes(DIM, 2) + 4)
    assert info.row_bytes == 4 + 4 + 4 + code_bytes(DIM, 2) + 4
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
    energy = EnergyTable(table).build(EnergyConfig(bits=2), layout="columns")
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
