"""Upkeep of a stored field: cells, a new fit, forgetting, and what is wrong with it."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection, RepairReport, chunks
from support.chroma_cases import client, create, vectors

from energy_plugin.energy import EnergyConfig
from energy_plugin.energy.codec import packing
from energy_plugin.energy.codec.codes import stored_bits
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.forgetting import Schedule, Step

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ROWS = vectors(200)
QUERIES = vectors(5, seed=1)
EIGHT = EnergyConfig(bits=8)


@pytest.fixture
def made(tmp_path):
    """200 rows; row i is i days old."""
    made = create(client(tmp_path), n=200)
    times = [(NOW - timedelta(days=i)).isoformat() for i in range(200)]
    made.update(ids=[f"r{i}" for i in range(200)], metadatas=[{"seen": time} for time in times])
    return made


def answer(energy, queries=QUERIES, k=6):
    got = energy.query(query_embeddings=queries, n_results=k, include=["distances"])
    return got["ids"], np.asarray(got["distances"])


def bits_of(energy):
    """Bits by id, as another object reads them from Chroma."""
    other = EnergyCollection(energy.collection)
    other.query(query_embeddings=QUERIES[:1])
    index, ids = other._keeper.live.index, other._keeper.live.rows
    numbers = index.rows
    bits = stored_bits(index.columns_of(numbers).residual, index.field.dim)
    return dict(zip(ids.names(numbers.tolist()), bits.tolist(), strict=True))


def reopened(energy):
    return EnergyCollection(energy.collection)


def shown(energy):
    """Metadata of all rows, and what it should show."""
    field = energy._keeper.live
    got = energy.get(ids=field.rows.ids)
    columns = field.columns_of(field.rows.rows(field.rows.ids))
    have = dict(zip(got["ids"], (m["energy_cell"] for m in got["metadatas"]), strict=True))
    return [have[name] for name in field.rows.ids], columns.cell.tolist()


# -- cells and a new fit


def test_maintain_after_growth_lowers_the_drift_and_keeps_every_row(made):
    energy = EnergyCollection(made).build()
    grown = vectors(300, seed=3, clusters=3) * np.float32(-1)
    energy.add(ids=[f"g{i}" for i in range(300)], embeddings=grown)
    generation = energy.info().generation
    report = energy.maintain()
    assert report.split > 0
    assert report.after.distortion < report.before.distortion
    assert energy.info().generation == generation + 1
    assert energy.info().rows == 500
    for one in (energy, reopened(energy)):
        got = one.query(query_embeddings=grown[:40], n_results=1, include=[])["ids"]
        assert got == [[f"g{i}"] for i in range(40)]
    assert shown(energy)[0] == shown(energy)[1]
    assert reopened(energy).verify() == []


def test_maintain_that_fails_leaves_the_stored_field(made, monkeypatch):
    energy = EnergyCollection(made).build()
    before = answer(energy)
    energy.add(ids=["g"], embeddings=QUERIES[:1])
    made.delete(ids=["g"])
    with monkeypatch.context() as patch:
        patch.setattr(
            "energy_chroma.store.FieldStore._flip", lambda *_: (_ for _ in ()).throw(OSError)
        )
        with pytest.raises(OSError):  # noqa: PT011
            energy.maintain()
    for one in (energy, reopened(energy)):
        ids, distances = answer(one)
        assert ids == before[0]
        np.testing.assert_allclose(distances, before[1], atol=1e-5)
    assert {finding.kind for finding in energy.verify()} <= {"leftover", "pending"}
    energy.repair()
    assert energy.verify() == []


def test_refit_keeps_configuration_row_columns_and_fidelity(made):
    energy = EnergyCollection(made).build(EIGHT, row_columns=False)
    energy.forget(NOW, time_key="seen", dry_run=False)
    before = bits_of(energy)
    energy.add(ids=["new"], embeddings=QUERIES[:1])
    assert energy.refit() is energy
    info = energy.info()
    assert (info.bits, info.layout, info.rows) == (8, "companion", 201)
    assert bits_of(energy) == {**before, "new": 8}
    assert "energy_cell" not in made.get(ids=["r1"])["metadatas"][0]
    energy.refit(EnergyConfig(bits=2))
    assert set(bits_of(energy).values()) == {2}


def test_upkeep_needs_a_field(made):
    energy = EnergyCollection(made)
    for call in (energy.maintain, energy.refit, energy.info, energy.refresh):
        with pytest.raises(NotBuiltError):
            call()
    with pytest.raises(NotBuiltError):
        energy.forget(NOW, time_key="seen")
    (missing,) = energy.verify()
    assert missing.kind == "missing"
    assert energy.repair() == RepairReport((missing,), (missing,))
    assert energy.repair(rebuild=True).sound
    assert energy.info().rows == 200


# -- forgetting


def test_a_dry_run_changes_nothing_and_says_what_would_happen(made):
    energy = EnergyCollection(made).build(EIGHT)
    before, pointer = answer(energy), energy._keeper.store.pointer()
    plan = energy.forget(NOW, time_key="seen")
    # 0-29 days keep 8 bits, to 89 days 4, to 364 days 2
    assert [len(rows) for _, rows in sorted(plan.by_bits.items())] == [110, 60]
    assert plan.bytes_saved > 0
    assert energy._keeper.store.pointer() == pointer
    assert bits_of(energy) == dict.fromkeys((f"r{i}" for i in range(200)), 8)
    assert answer(energy)[0] == before[0]


def test_old_rows_lose_planes_and_stay_findable(made):
    energy = EnergyCollection(made).build(EIGHT)
    size = energy.info().column_bytes
    metadatas = made.get()["metadatas"]
    plan = energy.forget(NOW, time_key="seen", dry_run=False)
    expected = {f"r{i}": 8 if i < 30 else 4 if i < 90 else 2 for i in range(200)}
    assert bits_of(energy) == expected
    # what Chroma stores shrinks by what the plan says, up to the few bytes of the lengths
    assert energy.info().column_bytes == pytest.approx(size - plan.bytes_saved, abs=2 * 200 + 200)
    assert made.get()["metadatas"] == metadatas
    for one in (energy, reopened(energy)):
        got = one.query(query_embeddings=ROWS[:30], n_results=1, include=[])["ids"]
        assert got == [[f"r{i}"] for i in range(30)]
        old = one.query(query_embeddings=ROWS[30:], n_results=10, include=[])["ids"]
        found = sum(f"r{30 + i}" in ids for i, ids in enumerate(old))
        assert found >= 165  # of 170: 2 bits in 24 dimensions
    assert energy.verify() == []
    assert not len(energy.forget(NOW, time_key="seen", dry_run=False).rows)


def test_a_forgotten_row_that_is_written_again_is_remembered(made):
    energy = EnergyCollection(made).build(EIGHT)
    energy.forget(NOW, time_key="seen", dry_run=False)
    energy.update(ids=["r199"], embeddings=QUERIES[:1], metadatas=[{"seen": NOW.isoformat()}])
    assert bits_of(energy)["r199"] == 8
    assert not len(energy.forget(NOW, time_key="seen", dry_run=False).rows)
    assert answer(energy, QUERIES[:1], 1)[0] == [["r199"]]


def test_rows_without_a_time_keep_their_fidelity(made):
    energy = EnergyCollection(made).build(EIGHT)
    energy.add(ids=["timeless"], embeddings=QUERIES[:1], metadatas=[{"n": -1}])
    energy.forget(NOW, time_key="seen", schedule=Schedule((Step(0, "tiny", 1),)), dry_run=False)
    assert bits_of(energy) == dict.fromkeys((f"r{i}" for i in range(200)), 8) | {"timeless": 8}
    strict = Schedule((Step(0, "tiny", 8), Step(1, "tiny", 1)))
    energy.forget(NOW, time_key="seen", schedule=strict, dry_run=False)
    assert bits_of(energy) == dict.fromkeys((f"r{i}" for i in range(1, 200)), 1) | {
        "r0": 8,
        "timeless": 8,
    }


def test_a_wrong_key_time_or_schedule_is_refused(made):
    energy = EnergyCollection(made).build()
    with pytest.raises(InvalidInputError, match="metadata key 'when'"):
        energy.forget(NOW, time_key="when")
    with pytest.raises(InvalidInputError, match="now"):
        energy.forget(None, time_key="seen")
    with pytest.raises(InvalidInputError, match="schedule must be a Schedule"):
        energy.forget(NOW, time_key="seen", schedule=[30, 90])
    made.update(ids=["r5"], metadatas=[{"seen": "yesterday"}])
    with pytest.raises(InvalidInputError, match="ISO 8601"):
        energy.forget(NOW, time_key="seen", dry_run=False)
    assert set(bits_of(energy).values()) == {4}


def test_short_codes_are_restored(made):
    codes = np.random.default_rng(0).integers(0, 256, (9, 40), dtype=np.uint8)
    codes[3:, 12:] = 0
    codes[5] = 0
    packed = chunks._shortened(codes)
    assert packed["residual"].ndim == 1
    arrays, _ = packing.loads(packing.dumps(packed, {}))
    np.testing.assert_array_equal(chunks._restored(arrays, 9, 280), codes)
    full = np.full((4, 10), 7, dtype=np.uint8)
    assert chunks._shortened(full) == {"residual": pytest.approx(full)}


# -- health


def test_info_says_what_the_field_is_made_of(made):
    energy = EnergyCollection(made).build(EIGHT)
    info = energy.info()
    assert (info.name, info.rows, info.dim, info.generation) == ("docs", 200, 24, 1)
    assert (info.bits, info.chunks, info.embedder) == (8, 1, None)
    assert info.layout == "companion and metadata"
    assert info.n_anchors == energy.field.n_anchors
    # λ, G, cell, fingerprint, header of 5 bytes and 8 planes of 3 bytes, and the id
    assert 200 * (16 + 5 + 24) < info.column_bytes < 200 * (16 + 5 + 24 + 20)
    assert info.bytes == info.field_bytes + info.column_bytes
    assert info.row_bytes == 16 + 5 + 24
    assert info.drift.distortion == pytest.approx(1, abs=0.05)
    assert info.pending == Changes()
    made.delete(ids=["r3"])
    made.add(ids=["x"], embeddings=QUERIES[:1])
    assert reopened(energy).info().pending == Changes(added=("x",), removed=("r3",))


def test_verify_names_every_kind_of_fault_and_repair_mends_it(made):
    energy = EnergyCollection(made).build()
    assert energy.verify() == []
    assert energy.repair() == RepairReport()
    made.update(ids=["r1"], embeddings=QUERIES[:1])
    made.delete(ids=["r2"])
    made.add(ids=["x"], embeddings=QUERIES[1:2])
    made.update(ids=["r4"], metadatas=[{"energy_lambda": 0.25}])
    made.update(ids=["r5"], metadatas=[{"energy_cell": None}])
    companion = energy._keeper.host.companion()
    companion.add(ids=["9/rows/0/0"], embeddings=[[0.0]], metadatas=[{"generation": 9}])
    companion.add(ids=["1/rows/7/0"], embeddings=[[0.0]], metadatas=[{"generation": 1}])
    found = {(finding.kind, finding.ids) for finding in reopened(energy).verify()}
    assert found == {
        ("pending", ("x",)),
        ("pending", ("r2",)),
        ("pending", ("r1",)),
        ("altered", ("r4", "r5")),
        ("leftover", ("9/rows/0/0", "1/rows/7/0")),
    }
    assert all(finding.message and finding.remedy for finding in energy.verify())
    assert len(energy.repair().found) == 5
    assert reopened(energy).verify() == []
    assert answer(reopened(energy), QUERIES[:2], 1)[0] == [["r1"], ["x"]]


@pytest.mark.parametrize("record", ["1/rows/0/0", "1/field/0"])
def test_repair_builds_anew_what_is_damaged(made, record):
    config = EnergyConfig(bits=8, n_anchors=9)
    energy = EnergyCollection(made).build(config, row_columns=False)
    before = answer(energy)
    energy._keeper.host.companion().update(ids=[record], metadatas=[{"data": "AAAA"}])
    other = reopened(energy)
    assert [finding.kind for finding in other.verify()] == ["corrupt"]
    assert not other.repair().sound
    assert other.repair(rebuild=True).sound
    assert other.verify() == []
    info = other.info()
    assert info.layout == "companion"
    if record.startswith("1/rows"):  # the configuration could still be read
        assert (info.bits, info.n_anchors) == (8, 9)
        assert answer(reopened(energy))[0] == before[0]
