"""What an index takes: few rows, odd rows, read-only arrays; and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.energy_data import clustered, exact_top, same

from energy_plugin.energy import EnergyColumns, EnergyField, EnergyIndex
from energy_plugin.errors import InvalidInputError


@pytest.mark.parametrize("n", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("dim", [1, 2, 33])
def test_small_collections(n, dim):
    rows = np.random.default_rng(n).standard_normal((n, dim)).astype(np.float32)
    index = EnergyIndex.fit(rows, device="cpu")
    result = index.search(rows, k=99)
    assert (np.sort(result.ids, axis=1) == np.arange(n)).all()
    assert np.isfinite(result.distances).all()
    if dim == 33:
        assert (result.ids[:, 0] == np.arange(n)).mean() >= 0.9
        assert np.array_equal(result.ids[:, 0], exact_top(rows, rows, 1)[:, 0]) or n == 50


def test_identical_and_duplicate_rows(rows):
    index = EnergyIndex.fit(np.ones((30, 8)), device="cpu")
    result = index.search(np.ones(8), 30)
    assert result.ids[0].tolist() == list(range(30))
    np.testing.assert_allclose(result.distances, 0, atol=2e-3)
    twice = EnergyIndex.fit(np.concatenate([rows[:100], rows[:100]]), device="cpu")
    found = twice.search(rows[:100], 2).ids
    assert (
        np.sort(found, axis=1) == np.stack([np.arange(100), np.arange(100) + 100], 1)
    ).mean() > 0.9


def test_rows_of_zeros_rank_last():
    rows = clustered(60, 16)[0]
    rows[[3, 40]] = 0
    index = EnergyIndex.fit(rows, device="cpu")
    assert index.columns.cell[[3, 40]].tolist() == [-1, -1]
    result = index.search(rows[:5], 60)
    assert np.isfinite(result.distances).all()
    assert result.ids[:, -2:].tolist() == [[3, 40]] * 5
    assert (np.diff(result.distances, axis=1) >= 0).all()
    assert index.add(np.zeros((1, 16))).tolist() == [60]
    assert index.search(rows[0], 61).ids[0, -3:].tolist() == [3, 40, 60]
    nothing = EnergyIndex.fit(np.zeros((4, 16)), device="cpu")
    assert nothing.search(rows[0], 4).ids.tolist() == [[0, 1, 2, 3]]


def test_bad_queries(index):
    for bad in (np.ones(47), [np.inf] * 48, [], None):
        with pytest.raises(InvalidInputError):
            index.search(bad)
    for k in (0, -3, 2.0):
        with pytest.raises(InvalidInputError, match="k must be"):
            index.search(np.ones(48), k)
    with pytest.raises(InvalidInputError, match="Unknown device"):
        EnergyIndex.fit(np.ones((3, 4)), device="abacus")


@pytest.mark.parametrize("device", ["cuda:99", "meta", ["cpu"]])
def test_devices_that_are_not_there_are_refused(device, index):
    with pytest.raises(InvalidInputError, match="device"):
        EnergyIndex.fit(np.ones((3, 4)), device=device)
    with pytest.raises(InvalidInputError, match="device"):
        EnergyIndex.from_columns(index.field, index.columns, device=device)


@pytest.mark.parametrize("config", [{"bits": 2}, "default", False])
def test_configurations_of_another_type_are_refused(config):
    with pytest.raises(InvalidInputError, match="must be an EnergyConfig"):
        EnergyIndex.fit(np.ones((3, 4)), config)


def test_read_only_arrays_are_taken_without_a_warning(rows, queries, recwarn):
    """Such as Arrow and files give; torch would warn, once a process unless told otherwise."""

    def frozen(array):
        copy = np.array(array)
        copy.flags.writeable = False
        return copy

    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        index = EnergyIndex.fit(frozen(rows.astype(np.float32)), device="cpu")
        names = ("lambda_", "dispersion", "cell", "residual")
        columns = EnergyColumns(*(frozen(getattr(index.columns, name)) for name in names))
        field = EnergyField.from_bytes(index.field.to_bytes())
        again = EnergyIndex.from_columns(field, columns, device="cpu")
        asked = frozen(queries.astype(np.float32))
        same(again.search(asked, 5), index.search(asked, 5))
        again.add(asked)
        again.search(asked[0], 5, rows=frozen(np.arange(9)))
    finally:
        torch.set_warn_always(always)
    assert [str(warning.message) for warning in recwarn] == []
