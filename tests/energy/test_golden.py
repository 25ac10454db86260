"""Stored bytes of every format version: they must stay readable and mean the same.

`field_v<n>.bin` and `columns_v<n>.bin` in `tests/golden/energy` were written by `write()` below,
which is run by hand when a new format version is released, never to make this test pass. Before
the first release they follow the recipe.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.energy_data import clustered

from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec.packing import dumps, loads
from energy_plugin.energy.field import FORMAT_VERSION

GOLDEN = Path(__file__).parents[1] / "golden" / "energy"
NAMES = ("lambda_", "dispersion", "cell", "residual")


def write() -> None:
    rows, _ = clustered(120, 24)
    index = EnergyIndex.fit(rows, EnergyConfig(n_anchors=12), device="cpu")
    queries = clustered(4, 24, seed=1)[0]
    result = index.search(queries, 10)
    arrays = {name: getattr(index.columns, name) for name in NAMES}
    arrays.update(queries=queries, ids=result.ids, distances=result.distances)
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "field_v2.bin").write_bytes(index.field.to_bytes())
    (GOLDEN / "columns_v2.bin").write_bytes(dumps(arrays, {"format_version": "1"}))


@pytest.mark.parametrize("version", [1, 2])
def test_stored_bytes_mean_the_same(version):
    blob = (GOLDEN / f"field_v{version}.bin").read_bytes()
    field = EnergyField.from_bytes(blob)
    again = field.to_bytes()
    assert (again == blob) == (version == FORMAT_VERSION)
    assert EnergyField.from_bytes(again).fingerprint == field.fingerprint
    assert (field.dim, field.n_fitted, field.n_anchors) == (24, 120, 12)
    arrays, metadata = loads((GOLDEN / f"columns_v{version}.bin").read_bytes())
    assert metadata == {"format_version": "1"}
    columns = EnergyColumns(*(arrays[name] for name in NAMES))
    result = EnergyIndex.from_columns(field, columns, device="cpu").search(arrays["queries"], 10)
    assert np.array_equal(result.ids, arrays["ids"])
    np.testing.assert_allclose(result.distances, arrays["distances"], atol=1e-4)
