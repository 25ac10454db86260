"""Columns mapped fragment by fragment from a field that was fitted on a sample."""

import lancedb
import numpy as np
import pytest
from energy_lancedb import EnergyTable, fragments
from support.lancedb_data import ENERGY, embed, plain_rows, plain_schema, rows_of, text_of

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.fit.mapping import RowMapper, sample_config
from energy_plugin.errors import InvalidInputError

EACH = 150


@pytest.fixture
def table(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(EACH), schema=plain_schema())
    for i in (1, 2, 3):
        table.add(plain_rows(EACH, start=EACH * i))
    table.delete("id % 97 = 0")
    table.add([{**rows_of(1, start=9000)[0], "vector": None}])
    return table


def ids(energy, k=10_000):
    found = energy.search(embed(["wing"])[0]).select(["id"]).limit(k).to_arrow()
    return sorted(found["id"].to_pylist())


def live(table):
    found = table.search().where("vector IS NOT NULL").select(["id"]).limit(100_000).to_arrow()
    return sorted(found["id"].to_pylist())


def test_a_row_has_the_same_columns_in_any_company():
    vectors = np.stack([row["vector"] for row in plain_rows(700)])
    index = EnergyIndex.fit(vectors[:300], device="cpu")
    mapper = RowMapper(index.field, index.columns, device="cpu")
    whole = mapper.columns(vectors[300:])
    halves = [mapper.columns(vectors[300:500]), mapper.columns(vectors[500:])]
    shuffled = np.random.default_rng(0).permutation(400)
    mixed = mapper.columns(vectors[300:][shuffled])
    for name in ("lambda_", "dispersion"):
        value = getattr(whole, name)
        np.testing.assert_allclose(
            np.concatenate([getattr(h, name) for h in halves]), value, atol=1e-6
        )
        np.testing.assert_allclose(getattr(mixed, name), value[shuffled], atol=1e-6)
    same = (mixed.residual == whole.residual[shuffled]).all(1)
    assert same.mean() > 0.99  # a component at the border of two levels may fall on either side
    np.testing.assert_array_equal(mixed.cell, whole.cell[shuffled])
    zero = mapper.columns(np.zeros((1, vectors.shape[1]), dtype=np.float32))
    assert zero.cell.tolist() == [-1]


def test_anchors_suit_all_rows():
    config = EnergyConfig()
    assert sample_config(config, 1000, 1000) is config
    assert sample_config(config, 1_000_000, 131_072).n_anchors == 4000
    assert sample_config(config, 10**9, 131_072).n_anchors == 131_072 // 8
    assert sample_config(EnergyConfig(n_anchors=7), 10**9, 1000).n_anchors == 7


@pytest.mark.parametrize("layout", ["columns", "companion"])
def test_a_build_on_a_sample(table, layout):
    energy = EnergyTable(table).build(EnergyConfig(bits=8), sample=200, layout=layout)
    info = energy.info()
    assert (info.n_fitted, info.rows, len(info.pending), info.without_vector) == (200, 593, 0, 1)
    assert ids(energy) == live(table)
    assert [ids(energy, 1) for _ in range(2)] == [ids(energy, 1)] * 2
    for i in (3, 170, 320, 555):
        assert energy.search(embed([text_of(i)])[0]).limit(1).to_list()[0]["id"] == i
    assert energy.verify() == []
    again = EnergyTable(lancedb.connect(table._conn.uri).open_table("pages"))
    assert ids(again) == ids(energy)
    energy.build(EnergyConfig(bits=2))
    assert energy.info().n_fitted == 593
    assert (table.schema.names[-4:] == ENERGY) == (layout == "columns")


def test_the_columns_of_a_sample_are_the_same_in_both_layouts(table):
    """Each row's, whichever table they stand in: distances by them are the same."""
    config, vector = EnergyConfig(bits=8, seed=2), embed([text_of(31)])[0]
    energy = EnergyTable(table)
    found = []
    for layout in ("columns", "companion"):
        energy.build(config, sample=200, layout=layout)
        rows = energy.search(vector).select(["id", *ENERGY[:3]]).limit(600).to_arrow()
        found.append(rows.sort_by("id"))
    assert found[0]["energy_cell"].equals(found[1]["energy_cell"])
    for name in ("energy_lambda", "energy_dispersion", "_distance"):
        np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-6)


def test_a_sample_of_all_rows_gives_the_columns_of_the_whole_build(table):
    def columns():
        table.checkout_latest()
        return table.search().select(["id", *ENERGY]).limit(10_000).to_arrow().sort_by("id")

    EnergyTable(table).build(layout="columns")
    whole = columns()
    rows = fragments.read_sample(table.to_lance(), "vector", 48, 10**6, 0)
    assert len(rows.rowids) == 593
    energy = EnergyTable(table)
    energy._live.host.latest()
    sampled = EnergyIndex.fit(rows.matrix)
    spread = fragments.SampledRows(
        sampled.field.to_bytes(),
        rows.rowids,
        fragments.prints_of(rows.matrix),
        sampled.columns,
        "local",
    )
    energy._keeper.publish_rows(sampled.field, spread, "columns", "vector", energy._live.pointer())
    assert columns().equals(whole)


def test_the_sample_depends_on_the_seed_alone(table):
    def sample(seed, count=100):
        return fragments.read_sample(table.to_lance(), "vector", 48, count, seed)

    one, again, other = sample(1), sample(1), sample(2)
    np.testing.assert_array_equal(one.rowids, again.rowids)
    np.testing.assert_array_equal(one.matrix, again.matrix)
    assert len(np.intersect1d(one.rowids, other.rowids)) < 60
    by_address = table.to_lance().scanner(columns=["vector"], with_row_address=True).to_table()
    addresses = by_address["_rowaddr"].to_numpy()
    places = np.searchsorted(addresses, one.rowids)
    np.testing.assert_array_equal(addresses[places], one.rowids)
    vectors = [by_address["vector"][int(i)].as_py() for i in places]
    np.testing.assert_array_equal(np.array(vectors, dtype=np.float32), one.matrix)


def test_writers_during_the_build_cost_only_their_own_fragments(table, tmp_path, monkeypatch):
    """Rows are added, changed and deleted while fragments are mapped: two commits conflict."""
    other = lancedb.connect(tmp_path).open_table("pages")
    original, mapped = fragments.run_here, []

    def interrupted(job, numbers):
        found = original(job, numbers)
        mapped.append(list(numbers))
        if len(mapped) == 1:
            other.add(plain_rows(20, start=5000))
            other.delete("id = 8")
        if len(mapped) == 2:
            other.update(where="id = 400", values={"vector": embed(["music"])[0].tolist()})
        return found

    monkeypatch.setattr("energy_lancedb.column_layout.run_here", interrupted)
    energy = EnergyTable(table).build(sample=200, layout="columns")
    assert [len(numbers) for numbers in mapped] == [5, 1, 1]
    info = energy.info()
    assert (info.rows, len(info.pending)) == (593 + 20 - 1, 0)
    assert ids(energy) == live(table)
    assert energy.search(embed(["music"])[0]).limit(1).to_list()[0]["id"] == 400
    assert energy.search(embed([text_of(5003)])[0]).limit(1).to_list()[0]["id"] == 5003
    assert energy.verify() == []


def test_what_cannot_be_mapped(table):
    with pytest.raises(InvalidInputError, match="engine must be one of"):
        EnergyTable(table).build(engine="spark")
    with pytest.raises(InvalidInputError, match="sample must be an integer"):
        EnergyTable(table).build(sample=0)
    with pytest.raises(InvalidInputError, match="Leave engine out"):
        EnergyTable(table).build(engine="ray", layout="companion")
    memory = lancedb.connect("memory://").create_table("pages", plain_rows(20))
    with pytest.raises(InvalidInputError, match="Leave engine out"):
        EnergyTable(memory).build(engine="ray")
