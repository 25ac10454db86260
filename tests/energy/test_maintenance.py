"""Upkeep: cells are merged and split, fields fitted anew, planes dropped row by row."""

from __future__ import annotations

import numpy as np
import pytest
from support.energy_data import clustered, overlap, same
from support.equality import alike_but_for_ties

from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec import codes
from energy_plugin.errors import InvalidInputError


@pytest.fixture
def grown(rows):
    """An index whose later rows come from other topics than the fitted ones."""
    index = EnergyIndex.fit(rows[:300], device="cpu")
    later = clustered(300, 48, seed=77)[0]
    index.add(later)
    return index, np.concatenate([rows[:300], later])


@pytest.mark.parametrize("given", [True, False])
def test_maintain_lowers_the_distortion(grown, queries, given):
    """Measured: distortion 1.31 before, .94 after; ten neighbours of a search overlap by .8."""
    index, vectors = grown
    before = index.search(vectors[300:], 1).ids[:, 0]
    report = index.maintain(vectors if given else None)
    assert report.split > 0
    assert 0 < report.recoded <= 600
    assert report.after.distortion < report.before.distortion - 0.1
    assert index.drift() == report.after
    assert np.array_equal(index.rows, np.arange(600))
    after = index.search(vectors[300:], 1).ids[:, 0]
    assert (after == np.arange(300, 600)).mean() >= (before == np.arange(300, 600)).mean() - 0.02
    reopened = EnergyIndex.from_columns(
        EnergyField.from_bytes(index.field.to_bytes()), index.columns, device="cpu"
    )
    same(reopened.search(queries, 20), index.search(queries, 20))


def test_maintain_leaves_a_fresh_index_alone(rows):
    index = EnergyIndex.fit(rows, device="cpu")
    blob, columns = index.field.to_bytes(), index.columns
    report = index.maintain()
    if report.merged == report.split == 0:
        assert index.field.to_bytes() == blob
        assert np.array_equal(index.columns.residual, columns.residual)
    assert report.after.distortion <= report.before.distortion + 0.05


def test_maintain_gives_rows_and_queries_one_lambda(grown):
    index, vectors = grown
    index.maintain(vectors)
    lambda_, dispersion = index.field.taumode(vectors)
    assert alike_but_for_ties(lambda_, index.columns.lambda_)
    assert alike_but_for_ties(dispersion, index.columns.dispersion)


def test_maintain_drops_cells_that_lost_their_rows(rows, queries):
    index = EnergyIndex.fit(rows, EnergyConfig(n_anchors=40), device="cpu")
    gone = np.flatnonzero(np.isin(index.columns.cell, np.arange(20)))
    index.remove(gone)
    report = index.maintain()
    assert report.merged >= 20
    assert np.array_equal(index.rows, np.setdiff1d(np.arange(600), gone))
    assert not np.isin(index.search(queries, 10).ids, gone).any()
    assert index.add(rows[:2]).tolist() == [600, 601]
    everything = EnergyIndex.fit(rows[:20], device="cpu")
    everything.remove(np.arange(20))
    assert everything.maintain().split == 0


def test_refit_keeps_numbers(grown, queries):
    index, vectors = grown
    index.remove([0, 5, 599])
    fresh = index.refit(vectors[index.rows])
    assert np.array_equal(fresh.rows, index.rows)
    assert fresh.add(vectors[:1]).tolist() == [600]
    assert fresh.drift().distortion == pytest.approx(1, abs=0.02)
    direct = EnergyIndex.fit(vectors[index.rows], device="cpu")
    expected = index.rows[direct.search(queries, 10).ids]
    assert np.array_equal(index.refit(vectors[index.rows]).search(queries, 10).ids, expected)


def test_refit_without_vectors_recovers_them(rows, queries):
    """Overlap of ten neighbours with a fit on the vectors themselves."""
    index = EnergyIndex.fit(rows, EnergyConfig(bits=8), device="cpu")
    again = index.refit()
    assert overlap(again.search(queries, 10).ids, index.search(queries, 10).ids) > 0.8
    plain = EnergyIndex.fit(rows, EnergyConfig.plain(8), device="cpu")
    same_rows = plain.refit(config=EnergyConfig.plain(8))
    assert overlap(same_rows.search(queries, 10).ids, plain.search(queries, 10).ids) > 0.97


def test_lower_drops_planes_of_some_rows(rows, queries):
    index = EnergyIndex.fit(rows, EnergyConfig(bits=8), device="cpu")
    index.search(queries, 5)  # rows are decoded and kept
    before = index.columns
    assert index.lower([7, 3, 3, 500], 2).tolist() == [3, 7, 500]
    assert index.lower([3], 4).tolist() == []
    used = codes.stored_bits(index.columns.residual, 48)
    assert used[[3, 7, 500]].tolist() == [2, 2, 2]
    assert (np.delete(used, [3, 7, 500]) == 8).all()
    assert index.columns.residual.shape == before.residual.shape
    reopened = EnergyIndex.from_columns(index.field, index.columns, device="cpu")
    same(reopened.search(queries, 20), index.search(queries, 20))
    whole = EnergyIndex.from_columns(index.field, before, device="cpu")
    whole.lower(whole.rows, 2)
    narrow = codes.drop_planes(whole.columns.residual, 48, 2)
    assert narrow.shape[1] == codes.code_bytes(48, 2)
    assert np.array_equal(narrow, codes.drop_planes(before.residual, 48, 2))
    for bad, bits, match in (([9999], 2, "not in the index"), ([1], 3, "bits must be")):
        with pytest.raises(InvalidInputError, match=match):
            index.lower(bad, bits)


def test_refit_and_maintain_keep_lowered_rows_low(grown):
    index, vectors = grown
    index.lower(np.arange(100), 1)
    for changed in (index.refit(), index.refit(vectors)):
        used = codes.stored_bits(changed.columns.residual, 48)
        assert (used[:100] == 1).all()
        assert (used[100:] == 4).all()
    index.maintain()
    used = codes.stored_bits(index.columns.residual, 48)
    assert (used[:100] == 1).all()
    assert (used[100:] == 4).all()


def test_vectors_of_other_rows_are_refused(grown):
    index, vectors = grown
    for call in (index.maintain, index.refit):
        with pytest.raises(InvalidInputError, match="599 vectors for 600 live rows"):
            call(vectors[:599])
    index.remove(index.rows)
    with pytest.raises(InvalidInputError, match="no rows to fit"):
        index.refit()
