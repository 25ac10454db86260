"""Publishing a field: crashes at every step, two writers, what others notice."""

import numpy as np
import pytest
from energy_chroma import Changes, EnergyCollection, generations, store
from energy_chroma.store import FieldStore
from support.chroma_cases import answer, client, companion, create, vectors
from support.moments import Crash, dying, once, seen

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import NotBuiltError
from energy_plugin.stored.moments import Moment

QUERIES = vectors(4, seed=1)
OTHER = EnergyConfig(n_anchors=5, bits=8)


@pytest.fixture
def made(tmp_path):
    return create(client(tmp_path), n=120)


def generations_of(energy):
    return {name.split("/")[0] for name in companion(energy).get(include=[])["ids"]}


# -- two writers


def test_two_writers_of_one_chunk_do_not_mix_their_parts(made, monkeypatch):
    """Both may choose its number; the first to write its first record has it, and whole."""
    monkeypatch.setattr(store, "PART_CHARACTERS", 200)
    energy = EnergyCollection(made).build()
    field_store, records = energy._keeper.store, companion(energy)
    blobs = [bytes([number]) * 1000 for number in (1, 2)]
    upsert = type(records).upsert
    calls = []

    def between(self, **given):
        upsert(self, **given)
        calls.append(given["ids"])
        if len(calls) == 1:  # the other one writes while this one is half-way
            FieldStore(energy._keeper.host)._write(records, 1, "rows/1", blobs[0], "other")

    monkeypatch.setattr(type(records), "upsert", between)
    field_store._write(records, 1, "rows/1", blobs[1], "own")
    assert len(calls) == 2
    assert field_store._blob(records, "1/rows/1") == blobs[0]
    assert generations.are_ours(records, ["1/rows/1/0"], "other")
    assert not generations.are_ours(records, ["1/rows/1/0"], "own")
    monkeypatch.undo()
    energy.repair()
    assert energy.verify() == []


def test_a_field_published_during_another_takes_the_next_number(made):
    """One process publishes whole while another has chosen its number and not yet flipped."""
    EnergyCollection(made).build()
    moments, listening = seen(Moment.NUMBERED, Moment.FLIPPED)
    with listening, once(Moment.NUMBERED, lambda: EnergyCollection(made).build(OTHER)):
        energy = EnergyCollection(made).build()
    # the first chooses, the second publishes whole, the first chooses again
    numbered, flipped = Moment.NUMBERED, Moment.FLIPPED
    assert moments == [numbered, numbered, flipped, numbered, flipped]
    assert energy.info().generation == 3
    assert generations_of(energy) == {"3"}
    assert energy.verify() == []
    assert answer(made) == answer(energy.collection)


def test_a_flip_back_to_a_deleted_generation_is_put_right(made, caplog):
    """A row is added in the very moment between the last look at the pointer and the flip."""
    energy = EnergyCollection(made).build()
    with once(Moment.COLUMNS_WRITTEN, lambda: EnergyCollection(made).build(OTHER)):
        energy.add(ids=["a"], embeddings=vectors(1, seed=5))
    assert companion(energy).metadata["generation"] == 1
    expected = vectors(1, seed=5)
    for one in (energy, EnergyCollection(made)):
        assert one.query(query_embeddings=expected, n_results=1)["ids"] == [["a"]]
    assert "generation 2 is used" in caplog.text
    reopened = EnergyCollection(made)
    assert reopened.info().generation == 2
    assert reopened.info().bits == OTHER.bits
    reopened.repair()
    assert EnergyCollection(made).verify() == []


def test_a_view_written_late_leaves_a_newer_field_alone(made):
    energy = EnergyCollection(made).build()
    with once(Moment.SHOWN, lambda: EnergyCollection(made).build(OTHER)):
        energy.build()
    assert companion(energy).metadata["generation"] == 3
    assert EnergyCollection(made).info().bits == OTHER.bits
    assert energy.verify() == []


def test_a_rebuild_elsewhere_is_noticed(made):
    reader = EnergyCollection(made).build()
    writer = EnergyCollection(made).build(OTHER)
    assert reader.query(query_embeddings=QUERIES) == writer.query(query_embeddings=QUERIES)
    assert reader._keeper.live.pointer.generation == 2
    late = EnergyCollection(made, watch=False)
    late.query(query_embeddings=QUERIES)
    writer.build()
    late.add(ids=["a"], embeddings=vectors(1, seed=5))
    assert EnergyCollection(made).refresh() == Changes()


def test_a_drop_elsewhere_is_noticed(made):
    reader = EnergyCollection(made).build()
    EnergyCollection(made).drop()
    with pytest.raises(NotBuiltError):
        reader.query(query_embeddings=QUERIES)


# -- crashes


def test_a_crash_before_any_write_of_a_rebuild_leaves_a_readable_field(made):
    EnergyCollection(made).build()
    former = answer(made)
    outcomes = []
    for number in range(20):
        try:
            with dying(Moment.WRITING, skip=number):
                EnergyCollection(made).build(OTHER)
        except Crash:
            done = False
        else:
            done = True
        outcomes.append(answer(made) == former)
        if done:
            break
        EnergyCollection(made).build()
        assert answer(made) == former
        assert len(generations_of(EnergyCollection(made))) == 1
    # field, rows and flip: the former field; the sweep, the rows' metadata and the note that
    # they show it: the new one, as without a crash
    assert outcomes == [True, True, True, False, False, False, False]


def test_a_crash_in_the_first_build_leaves_an_unbuilt_collection(made):
    before = made.get()
    # before the companion and the field; then, as the companion stands, the rows and the flip
    for number in (0, 1, 1, 2):
        with dying(Moment.WRITING, skip=number), pytest.raises(Crash):
            EnergyCollection(made).build()
        with pytest.raises(NotBuiltError):
            answer(made)
        assert made.get() == before
    EnergyCollection(made).build()
    assert sorted(companion(EnergyCollection(made)).get(include=[])["ids"]) == [
        "3/field/0",
        "3/rows/0/0",
    ]


@pytest.mark.parametrize("moment", [Moment.ROWS_WRITTEN, Moment.COLUMNS_WRITTEN])
def test_a_crash_while_adding_keeps_row_and_field(made, moment):
    energy = EnergyCollection(made).build()
    with dying(moment), pytest.raises(Crash):
        energy.add(ids=["a"], embeddings=vectors(1, seed=5), metadatas=[{"n": 7}])
    reopened = EnergyCollection(made)
    got = reopened.query(query_embeddings=vectors(1, seed=5), n_results=1)
    assert got["ids"] == [["a"]]
    assert got["metadatas"][0][0]["n"] == 7
    assert reopened.refresh() == Changes(added=("a",))
    assert EnergyCollection(made).refresh() == Changes()


def test_a_crash_between_field_and_row_columns_is_mended_by_refresh(made):
    energy = EnergyCollection(made).build()
    with dying(Moment.SWEPT), pytest.raises(Crash):
        energy.build(OTHER)
    reopened = EnergyCollection(made)
    assert reopened.refresh() == Changes()
    columns = reopened._keeper.live.index.columns
    rows = made.get()["metadatas"]
    assert [row["energy_cell"] for row in rows] == columns.cell.tolist()
    np.testing.assert_array_equal(np.float32([r["energy_lambda"] for r in rows]), columns.lambda_)
    assert reopened._keeper.store.pointer().viewed == 2


def test_a_failed_append_is_reported_and_mended(made, caplog):
    energy = EnergyCollection(made).build()
    with dying(Moment.WRITING, skip=1, error=OSError("full")):  # the first is the row itself
        energy.add(ids=["a"], embeddings=vectors(1, seed=5))
    assert "could not be stored; refresh() writes them" in caplog.text
    assert energy.query(query_embeddings=vectors(1, seed=5), n_results=1)["ids"] == [["a"]]
    assert energy.refresh() == Changes(changed=("a",))
    assert EnergyCollection(made).refresh() == Changes()
