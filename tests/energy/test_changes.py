"""Rows that come and go."""

from __future__ import annotations

import numpy as np
import pytest
from support.energy_data import overlap

from energy_plugin.energy import EnergyIndex
from energy_plugin.errors import InvalidInputError


def test_add(rows, queries):
    """Rows that are added are found like rows that were fitted; measured agreement .87."""
    whole = EnergyIndex.fit(rows, device="cpu")
    part = EnergyIndex.fit(rows[:500], device="cpu")
    assert part.add(rows[500:]).tolist() == list(range(500, 600))
    a, b = whole.search(queries, 10).ids, part.search(queries, 10).ids
    assert overlap(a, b) > 0.75
    assert (part.search(rows[500:], 1).ids[:, 0] == np.arange(500, 600)).mean() > 0.9


def test_encode_is_what_add_stores(rows):
    index = EnergyIndex.fit(rows[:500], device="cpu")
    columns = index.encode(rows[500:])
    assert len(index) == 500
    index.add(rows[500:])
    for name in ("lambda_", "dispersion", "cell", "residual"):
        assert np.array_equal(getattr(index.columns, name)[500:], getattr(columns, name))


def test_remove(rows, queries):
    index = EnergyIndex.fit(rows, device="cpu")
    before = index.search(queries, 600)
    gone = before.ids[0, :5]
    index.remove(gone)
    assert len(index) == len(index.columns) == 595
    assert not np.isin(gone, index.rows).any()
    after = index.search(queries, 600)
    assert after.ids.shape == (20, 595)
    assert not np.isin(after.ids, gone).any()
    # beyond 25 % tombstones the rows are compacted: numbers and results stay
    index.remove(index.rows[1::2])
    assert len(index) == 298
    assert np.isin(index.search(queries, 50).ids, index.rows).all()
    reopened = EnergyIndex.from_columns(index.field, index.columns, device="cpu")
    again = reopened.search(queries, 50)
    assert np.array_equal(index.rows[again.ids], index.search(queries, 50).ids)
    assert index.add(rows[:2]).tolist() == [600, 601]
    index.remove(index.rows)
    assert len(index) == 0
    assert index.search(queries, 5).ids.shape == (20, 0)
    assert index.add(rows[:1]).tolist() == [602]


def test_removing_the_last_number_does_not_give_it_again(rows):
    index = EnergyIndex.fit(rows[:20], device="cpu")
    index.remove([19])
    assert index.add(rows[:1]).tolist() == [20]


@pytest.mark.parametrize("bad", [[0, 999], [-1], [5, 5, 7]])
def test_removing_unknown_rows_changes_nothing(rows, bad):
    index = EnergyIndex.fit(rows[:50], device="cpu")
    index.remove([7])
    with pytest.raises(InvalidInputError, match="not in the index"):
        index.remove(bad)
    assert len(index) == 49


@pytest.mark.parametrize(
    "bad", [np.ones((2, 47)), [[np.nan] * 48], np.zeros((0, 48)), "text", np.ones(48)]
)
def test_bad_vectors_change_nothing(rows, bad):
    index = EnergyIndex.fit(rows[:50], device="cpu")
    with pytest.raises(InvalidInputError):
        index.add(bad)
    assert len(index) == 50
    with pytest.raises(InvalidInputError):
        index.encode(bad)
