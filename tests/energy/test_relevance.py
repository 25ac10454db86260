"""Relevance: unrelated questions below, related ones above the cut-off, without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.energy import EnergyField, EnergyIndex
from energy_plugin.energy.result import CUT_OFF, NO_ROW
from energy_plugin.errors import InvalidInputError


@pytest.fixture(scope="module")
def case():
    """An index, questions near its rows, and questions of another subject."""
    rows = clustered(800, 64, topics=20, spread=0.6, shared=0.3)[0]
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((40, 64)) / 8
    related = rows[:40] + 0.7 * noise
    foreign = rng.standard_normal((40, 64))
    return EnergyIndex.fit(rows, device="cpu"), rows, related, foreign


def test_the_cut_off_parts_related_from_foreign_questions(case):
    index, rows, related, foreign = case
    near = index.search(related, 1).relevance
    far = index.search(foreign, 1).relevance
    assert (near > CUT_OFF).mean() > 0.9
    assert (far < CUT_OFF).mean() > 0.9
    assert index.search(rows[:20], 1).relevance.min() > 0.9
    every = index.search(related, 800).relevance
    assert ((every >= 0) & (every <= 1)).all()
    assert every[:, :10].mean() > every[:, -10:].mean() + 0.3


def test_it_is_a_function_of_question_row_and_field(case):
    index, _, related, _ = case
    whole = index.search(related, 20)
    one = index.search(7 * related[3], 5, rows=np.arange(0, 800, 2))  # lengths do not count
    place = {int(i): r for i, r in zip(whole.ids[3], whole.relevance[3], strict=True)}
    common = [i for i in one.ids[0] if int(i) in place]
    assert common
    for i in common:
        np.testing.assert_allclose(
            one.relevance[0][one.ids[0] == i], place[int(i)], rtol=1e-4, atol=1e-5
        )
    again = EnergyIndex.from_columns(
        EnergyField.from_bytes(index.field.to_bytes()), index.columns, device="cpu"
    )
    np.testing.assert_allclose(again.search(related, 20).relevance, whole.relevance, atol=1e-5)


def test_fields_that_do_not_know_it_estimate_it(case):
    index, _, related, foreign = case
    field = replace(index.field, scalars=replace(index.field.scalars, related=None))
    assert field.fingerprint == index.field.fingerprint
    old = EnergyIndex.from_columns(field, index.columns, device="cpu")
    near, far = old.search(related, 1).relevance, old.search(foreign, 1).relevance
    assert near.mean() > far.mean() + 0.3
    assert EnergyField.from_bytes(field.to_bytes()).scalars.related is None


def test_min_relevance_shortens_lists(case):
    index, _, related, foreign = case
    both = np.concatenate([related[:3], foreign[:3]])
    every, some = index.search(both, 30), index.search(both, 30, min_relevance=CUT_OFF)
    for i in range(6):
        kept = every.relevance[i] >= CUT_OFF
        count = int(kept.sum())
        assert np.array_equal(some.ids[i, :count], every.ids[i, kept])
        assert (some.ids[i, count:] == NO_ROW).all()
        assert np.isinf(some.distances[i, count:]).all()
    assert some.ids.shape[1] == (every.relevance >= CUT_OFF).sum(1).max()
    none = index.search(foreign[:1], 5, min_relevance=1.0)
    assert none.ids.shape == none.relevance.shape == (1, 0)
    for least in (-0.1, 1.5, "much", True, np.nan):
        with pytest.raises(InvalidInputError, match="min_relevance"):
            index.search(both, 3, min_relevance=least)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_few_rows_and_copies(count):
    rows = np.repeat(clustered(1, 16)[0], count, axis=0)
    found = EnergyIndex.fit(rows, device="cpu").search(rows[:1], 3)
    assert np.isfinite(found.relevance).all()
    assert found.relevance[0, 0] > CUT_OFF
    zero = EnergyIndex.fit(np.zeros((count, 16)), device="cpu").search(rows[:1], 3)
    assert np.isfinite(zero.relevance).all()
    assert (zero.relevance < CUT_OFF).all()
