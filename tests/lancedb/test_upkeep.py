"""Upkeep of a stored field: refit, maintain, forget, verify, repair, in both layouts."""

from datetime import datetime, timedelta, timezone

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable
from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.columns import NAMES
from energy_lancedb.rewriting import update_of
from support.equality import alike_but_for_ties
from support.lancedb_data import DIM, ENERGY, embed, hits, plain_rows, plain_schema, text_of

from energy_plugin.energy import EnergyConfig
from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.forgetting import Schedule

N = 160
QUERY = embed(["heart plain heart"])[0]
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def dated(rows):
    """Row i is i·10 days old."""
    return [{**row, "written": NOW - timedelta(days=10 * row["id"])} for row in rows]


def schema():
    return plain_schema().append(pa.field("written", pa.timestamp("us", tz="UTC")))


@pytest.fixture(params=("columns", "companion"))
def energy(request, tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", dated(plain_rows(N)), schema=schema())
    return EnergyTable(table).build(EnergyConfig(bits=8), layout=request.param)


def reopened(energy):
    return EnergyTable(energy._live.host.connection.open_table("pages"))


def nearest(energy, i):
    return hits(energy, embed([text_of(i)])[0], 1)[0]["id"]


def test_refit_keeps_configuration_and_layout(energy):
    before = energy.info()
    energy.table.add(dated(plain_rows(60, start=N)))
    energy.refit()
    info = reopened(energy).info()
    assert info == energy.info()
    assert (info.generation, info.layout, info.config) == (2, before.layout, before.config)
    assert (info.rows, info.n_fitted, len(info.pending)) == (N + 60, N + 60, 0)
    vectors = energy._live.live_vectors(energy._live.snapshot())
    assert abs(info.drift.distortion - 1) < 0.05
    fresh = energy.field.taumode(vectors)[0]
    assert alike_but_for_ties(energy._live.snapshot().index.columns.lambda_, fresh)
    energy.refit(EnergyConfig(bits=2))
    assert energy.info().config["bits"] == 2


def test_maintain_publishes_the_changed_field(energy):
    rng = np.random.default_rng(3)
    rows = [
        {**row, "vector": (np.eye(DIM, dtype=np.float32)[0] + rng.normal(0, 0.1, DIM)).astype("f4")}
        for row in dated(plain_rows(80, start=N))
    ]
    energy.add(rows)
    before = energy.info()
    report = energy.maintain()
    assert report.split > 0
    info = reopened(energy).info()
    assert info.generation == 2
    assert info.drift.distortion < before.drift.distortion
    assert (info.rows, len(info.pending)) == (N + 80, 0)
    assert [nearest(reopened(energy), i) for i in (3, 77)] == [3, 77]
    assert energy.verify() == []
    again = energy.maintain()
    if again.split == again.merged == 0:
        assert energy.info().generation == 2


def test_forgetting_is_dry_first_and_saves_what_it_says(energy):
    before = energy.info()
    schedule = Schedule.of([300, 700, 1200])
    plan = energy.forget(NOW, time_key="written", schedule=schedule)
    assert energy.info() == before
    assert len(plan) == N
    done = energy.forget(NOW, time_key="written", schedule=schedule, dry_run=False)
    np.testing.assert_array_equal(done.bits, plan.bits)
    for table in (energy, reopened(energy)):
        info = table.info()
        assert info.fidelity == {8: 30, 4: 40, 2: 50, 1: 40}
        assert (info.generation, info.rows, len(info.pending)) == (2, N, 0)
        assert before.column_bytes - info.column_bytes == plan.bytes_saved > 0
        assert [nearest(table, i) for i in (3, 40, 80)] == [3, 40, 80]
    assert energy.verify() == []
    if energy.info().layout == "columns":
        stored = energy.table.to_arrow()
        assert stored.schema.field("energy_residual").type == pa.binary()
        lengths = pa.compute.binary_length(stored["energy_residual"]).to_numpy()
        bits = np.array([8] * 30 + [4] * 40 + [2] * 50 + [1] * 40)
        assert lengths.tolist() == [code_bytes(DIM, int(b)) + 4 for b in bits]
    again = energy.forget(NOW, time_key="written", schedule=schedule, dry_run=False)
    assert again.bytes_saved == 0
    assert energy.info().generation == 2


def test_life_goes_on_after_forgetting(energy):
    schedule = Schedule.of([300, 700, 1200])
    version = energy.table.version
    before = hits(energy, embed([text_of(150)])[0], 20)
    energy.forget(NOW, time_key="written", schedule=schedule, dry_run=False)
    energy.add(dated(plain_rows(4, start=N)))
    energy.table.update(where="id = 159", values={"vector": embed(["music"])[0].tolist()})
    assert len(energy.refresh()) == 1
    assert energy.info().fidelity == {8: 30 + 5, 4: 40, 2: 50, 1: 39}
    assert reopened(energy).info().fidelity == energy.info().fidelity
    energy.optimize()
    energy.refit()
    assert energy.info().fidelity == {8: 35, 4: 40, 2: 50, 1: 39}  # planes do not come back
    later = NOW + timedelta(days=100)
    energy.forget(later, time_key="written", schedule=schedule, dry_run=False)
    assert energy.info().fidelity[8] < 35
    energy.restore(version)  # the version from before, with all its planes
    assert energy.info().fidelity == {8: N}
    assert hits(energy, embed([text_of(150)])[0], 20) == before


@pytest.mark.parametrize("column", ["nothing", "topic"])
def test_what_has_no_age(energy, column):
    with pytest.raises(InvalidInputError, match=column if column == "nothing" else "timestamps"):
        energy.forget(NOW, time_key=column)


def test_info_counts_bytes_and_drift(energy):
    info = energy.info()
    assert info.version == energy.table.version
    assert info.column_bytes == N * info.row_bytes
    assert info.field_bytes == len(energy.field.to_bytes())
    assert info.drift.distortion == pytest.approx(1, abs=0.05)
    assert info.fidelity == {8: N}


def kinds(energy):
    return [finding.kind for finding in energy.verify()]


def test_a_sound_table_has_no_findings(energy):
    assert energy.verify() == []
    assert energy.repair().remaining == ()
    assert energy.info().generation == 1


def test_rows_that_wait(energy):
    energy.table.add(dated(plain_rows(3, start=N)))
    (finding,) = energy.verify()
    assert (finding.kind, len(finding.ids), finding.remedy) == ("pending", 3, "refresh()")
    assert energy.repair().remaining == ()
    assert len(energy.info().pending) == 0


def test_wrong_values_are_found_and_mended(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build(layout="columns")
    good = energy._live.snapshot().index.columns
    table.update(where="id IN (5, 6, 90)", values={"energy_lambda": 0.987})
    (finding,) = energy.verify()
    assert (finding.kind, len(finding.ids)) == ("pending", 3)  # seen at once: their files are new
    assert energy.repair().remaining == ()
    mended = energy._live.snapshot().index.columns
    by_id = np.argsort(energy.table.search().select(["id"]).to_arrow()["id"].to_numpy())
    assert alike_but_for_ties(mended.lambda_[by_id], good.lambda_)


@pytest.mark.parametrize("what", ["bit", "cell", "lambda", "dispersion", "scale"])
def test_one_altered_bit_in_place_is_found_and_mended(tmp_path, what):
    """The vectors' files stay as they are, so that only the seal can tell."""
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build(layout="columns")
    good = energy._live.snapshot().index.columns
    dataset = table.to_lance()
    stored = dataset.scanner(columns=list(NAMES), with_row_id=True).to_table()
    row = {name: stored[name][7].as_py() for name in stored.column_names}
    if what in ("bit", "scale"):
        code = bytearray(row["energy_residual"])
        code[20 if what == "bit" else 1] ^= 4
        row["energy_residual"] = bytes(code)
    elif what == "cell":
        row["energy_cell"] ^= 1
    else:
        row[f"energy_{what}"] += 1e-5  # below what comparing λ and G would find
    kinds_of = [stored.schema.field(name) for name in (*NAMES, "_rowid")]
    values = pa.table(
        [pa.array([row[f.name]], f.type) for f in kinds_of], schema=pa.schema(kinds_of)
    )
    operation = update_of(dataset, values)
    lance.LanceDataset.commit(dataset, operation, read_version=dataset.version)
    energy = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    (finding,) = energy.verify()
    assert (finding.kind, len(finding.ids)) == ("altered", 1)
    assert energy.repair().remaining == ()
    mended = energy._live.snapshot().index.columns
    assert (mended.residual != good.residual).any(axis=1).sum() <= 1
    assert alike_but_for_ties(mended.lambda_, good.lambda_)


def test_rows_of_another_table_are_served_from_their_own_vectors(tmp_path):
    """Energy columns that are copied along belong to another field, of the same width."""
    database = lancedb.connect(tmp_path)
    other = database.create_table("other", plain_rows(60, start=1000))
    EnergyTable(other).build(EnergyConfig(seed=3))
    table = database.create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build()
    table.add(other.to_arrow().slice(0, 20))
    assert len(energy.info().pending) == 20
    vector = plain_rows(1, start=1007)[0]["vector"]
    assert energy.search(vector).limit(1).to_list()[0]["id"] == 1007
    assert len(energy.refresh()) == 20
    assert energy.verify() == []


def test_a_field_in_an_older_version_only(energy):
    artefacts = energy._live.host.connection.open_table("pages__energy")
    artefacts.delete("true")
    sound = hits(energy, QUERY)
    assert kinds(energy) == ["history"]
    assert energy.repair().remaining == ()
    artefacts.checkout_latest()
    assert artefacts.count_rows() == 1
    artefacts.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    assert hits(reopened(energy), QUERY) == sound


def test_what_only_a_new_field_mends(energy):
    energy._live.host.connection.drop_table("pages__energy")
    table = reopened(energy)
    (finding,) = table.verify()
    assert (finding.kind, finding.remedy) == ("corrupt", "repair(rebuild=True)")
    assert table.repair().remaining == (finding,)
    assert table.repair(rebuild=True).remaining == ()
    assert table.info().config["bits"] == 8
    assert table.info().rows == N


def test_leftovers_of_a_broken_build_go(tmp_path, monkeypatch):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build(layout="columns")

    def crash(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ColumnLayout, "_swap", crash)
        with pytest.raises(KeyboardInterrupt):
            energy.build(layout="columns")
    table.drop_index("energy_cell_idx")
    messages = [f.message for f in energy.verify()]
    assert len(messages) == 2
    assert "energy_cell__next" in messages[0]
    assert "no index" in messages[1]
    assert energy.repair().remaining == ()
    assert table.schema.names[-4:] == ENERGY


@pytest.mark.parametrize("gone", ENERGY)
def test_a_dropped_column(tmp_path, gone):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N))
    energy = EnergyTable(table).build(layout="columns")
    table.drop_columns([gone])
    message = "no energy field" if gone == "energy_residual" else rf"lost.*{gone}.*build\(\)"
    with pytest.raises((RuntimeError, CorruptFieldError), match=message):
        hits(EnergyTable(table), QUERY)
    assert kinds(energy) == ["missing" if gone == "energy_residual" else "corrupt"]
    assert energy.repair(rebuild=True).remaining == ()
    assert table.schema.names[-4:] == ENERGY
    assert len(hits(energy, QUERY)) == 10
