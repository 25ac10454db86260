"""A table with two vector columns, each with a field of its own."""

import asyncio

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import AsyncEnergyTable, EnergyReranker, EnergyTable
from support.lancedb_data import DIM, plain_rows, plain_schema

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.errors import CorruptFieldError, InvalidInputError, NotBuiltError

N = 120
LAYOUTS = ["companion", "columns"]


def rows_of(count, start=0):
    rows = plain_rows(count, start=start)
    return [{**row, "image": row["vector"][::-1]} for row in rows]


@pytest.fixture
def database(tmp_path):
    return lancedb.connect(tmp_path)


@pytest.fixture
def table(database):
    schema = plain_schema().append(pa.field("image", pa.list_(pa.float32(), DIM)))
    return database.create_table("pages", rows_of(N), schema=schema)


def first(energy, vector):
    return energy.search(vector).limit(1).to_list()[0]["id"]


def alone(table, column, config):
    """The columns that a field of this column has without another one."""
    vectors = np.array(table.to_arrow()[column].to_pylist(), dtype=np.float32)
    return EnergyIndex.fit(vectors, config).columns


def assert_both(table, texts, images):
    rows = rows_of(5)
    assert first(texts, rows[4]["vector"]) == 4
    assert first(images, rows[4]["image"]) == 4
    assert (texts.verify(), images.verify()) == ([], [])
    assert (texts.info().vector_column, images.info().vector_column) == ("vector", "image")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_column_has_its_field(database, table, layout):
    texts = EnergyTable(table, "vector").build(EnergyConfig(seed=1), layout=layout)
    images = EnergyTable(table, "image").build(EnergyConfig(seed=2))
    assert_both(table, texts, images)
    assert images.info().layout == "companion"
    opened = database.open_table("pages")
    assert_both(opened, EnergyTable(opened, "vector"), EnergyTable(opened, "image"))
    for energy, column, seed in ((texts, "vector", 1), (images, "image", 2)):
        expected = alone(table, column, EnergyConfig(seed=seed))
        assert np.array_equal(energy._live.snapshot().index.columns.lambda_, expected.lambda_)


def test_without_a_name_there_must_be_one_field(table):
    EnergyTable(table, "vector").build()
    assert EnergyTable(table).info().vector_column == "vector"
    EnergyTable(table, "image").build()
    remedy = r"\['image', 'vector'\].*EnergyTable\(table, 'image'"
    with pytest.raises(InvalidInputError, match=remedy):
        EnergyTable(table).search(rows_of(1)[0]["vector"]).to_list()
    EnergyTable(table, "vector").drop()
    assert EnergyTable(table).info().vector_column == "image"
    with pytest.raises(NotBuiltError, match=r"'vector', only of \['image'\]"):
        EnergyTable(table, "vector").info()


def test_unreadable_entries(table):
    EnergyTable(table, "vector").build()
    EnergyTable(table, "image").build()
    table.to_lance().update_metadata({"energy:pointer:image": "{"})
    assert EnergyTable(table, "vector").verify() == []
    with pytest.raises(InvalidInputError, match=r"\['vector'\]"):
        EnergyTable(table).info()
    table.checkout_latest()
    table.to_lance().update_metadata({"energy:pointer": "{"})
    with pytest.raises(CorruptFieldError, match="unreadable"):
        EnergyTable(table).info()
    energy = EnergyTable(table, "vector").build()
    assert energy.verify() == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dropped", ["vector", "image"])
def test_dropping_one_leaves_the_other(table, layout, dropped):
    EnergyTable(table, "vector").build(layout=layout)
    EnergyTable(table, "image").build()
    EnergyTable(table, dropped).drop()
    kept = ({"vector", "image"} - {dropped}).pop()
    energy = EnergyTable(table, kept)
    assert first(energy, rows_of(8)[7][kept]) == 7
    assert energy.verify() == []
    EnergyTable(table, dropped).build()
    assert_both(table, EnergyTable(table, "vector"), EnergyTable(table, "image"))


def test_a_refit_and_changes_of_rows_reach_both(table):
    texts, images = EnergyTable(table, "vector").build(), EnergyTable(table, "image").build()
    for _ in range(2):
        images.refit(EnergyConfig(bits=2))
        texts.refit()
    assert_both(table, texts, images)
    assert (texts.info().bits, images.info().bits) == (4, 2)
    texts.add(rows_of(10, start=500))
    assert len(images.info().pending) == 10
    assert images.refresh().added
    images.delete("id < 3")
    for energy in (texts, images):
        assert (energy.info().rows, len(energy.info().pending)) == (N + 7, 0)
        assert energy.verify() == []
    texts.optimize()
    images.optimize()
    assert (texts.verify(), images.verify()) == ([], [])


def test_the_second_field_stands_beside_the_table(table):
    EnergyTable(table, "vector").build(layout="columns")
    with pytest.raises(InvalidInputError, match="further vector columns"):
        EnergyTable(table, "image").build(layout="columns")
    assert EnergyTable(table, "vector").verify() == []


def test_a_clone_and_a_restored_version_have_both(database, table):
    texts = EnergyTable(table, "vector").build()
    before = table.version
    images = EnergyTable(table, "image").build()
    copied = database.create_table("copy", table.to_arrow())
    assert EnergyTable(copied, "image").build().verify() == []
    images.restore(before)
    with pytest.raises(NotBuiltError):
        images.search(rows_of(1)[0]["image"]).to_list()
    assert texts.verify() == []
    images.build()
    assert_both(table, texts, images)


def test_a_reranker_takes_the_field_of_its_column(table):
    EnergyTable(table, "vector").build()
    images = EnergyTable(table, "image").build()
    vector = rows_of(10)[9]["image"]
    reranker = EnergyReranker(images).for_vector(vector)
    asked = table.search(vector, vector_column_name="image").rerank(reranker, query_string="?")
    assert asked.limit(5).to_list()[0]["id"] == 9


def test_asynchronous(tmp_path):
    asyncio.run(_both_asynchronously(tmp_path))


async def _both_asynchronously(tmp_path):
    database = await lancedb.connect_async(tmp_path)
    schema = plain_schema().append(pa.field("image", pa.list_(pa.float32(), DIM)))
    table = await database.create_table("pages", rows_of(N), schema=schema)
    for column in ("vector", "image"):
        energy = await AsyncEnergyTable(table, column).build()
        found = await energy.search(rows_of(3)[2][column])
        assert (await found.limit(1).to_list())[0]["id"] == 2
