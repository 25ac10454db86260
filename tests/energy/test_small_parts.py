"""Configuration, columns, packing, fingerprints, validation, imports."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from energy_plugin.energy.codec.packing import dumps, loads
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import CorruptFieldError, InvalidInputError
from energy_plugin.validation import as_k, as_queries, as_rows, as_vectors


@pytest.mark.parametrize(
    "module",
    [
        "energy_plugin",
        "energy_plugin.energy",
        "energy_plugin.energy.config",
        "energy_plugin.energy.columns",
        "energy_plugin.energy.codec.packing",
        "energy_plugin.energy.upkeep.fingerprint",
        "energy_plugin.validation",
    ],
)
def test_import_without_torch(module):
    code = (
        f"import {module}, sys; print([m for m in ('torch', 'scipy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_config_round_trip():
    config = EnergyConfig(n_anchors=7, bits=2, seed=3, tau_mode="mean")
    data = json.loads(json.dumps(config.to_dict()))
    assert data["format_version"] == 2
    assert EnergyConfig.from_dict(data) == config


def test_config_refuses_what_it_does_not_know():
    data = EnergyConfig().to_dict()
    with pytest.raises(InvalidInputError, match="unknown keys"):
        EnergyConfig.from_dict({**data, "colour": 1})
    with pytest.raises(InvalidInputError, match="format version 3"):
        EnergyConfig.from_dict({**data, "format_version": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits": 3},
        {"n_anchors": 0},
        {"heat": 1.0},
        {"tau_mode": "guess"},
        {"weight_lambda": -1.0},
        {"weight_lambda": 0.0, "weight_dirichlet": 0.0},
        {"pool": 0},
        {"seed": -1},
        {"centring": 1.5},
        {"exhaustive_rows": -5},
        {"heat": "x"},
        {"heat": True},
        {"heat": np.bool_(False)},
        {"gamma_floor": 10**400},
        {"alpha": None},
        {"weight_dirichlet": float("inf")},
        {"weight_lambda": float("nan")},
        {"n_anchors": 2.5},
        {"neighbours": 2.5},
        {"pool": np.float32(20)},
        {"pool": True},
        {"seed": None},
        {"tau_mode": 3},
    ],
)
def test_config_checks_values(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong)).split("_")[0]):
        EnergyConfig(**wrong)


def test_config_takes_numbers_of_numpy_and_stays_json():
    config = EnergyConfig(n_anchors=np.int64(7), heat=np.float32(0.5), weight_dirichlet=1)
    assert config == EnergyConfig(n_anchors=7, heat=0.5)
    assert EnergyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets():
    assert EnergyConfig.preset() == EnergyConfig()
    assert EnergyConfig.preset("arrowspace", bits=8).weights == (1.0, 0.5, 0.25)
    assert EnergyConfig.preset("arrowspace", bits=8).bits == 8
    with pytest.raises(InvalidInputError, match="Unknown preset"):
        EnergyConfig.preset("fast")
    with pytest.raises(InvalidInputError, match=r"unknown keys \['foo'\]"):
        EnergyConfig.preset("default", foo=1)
    with pytest.raises(InvalidInputError, match="expected a mapping"):
        EnergyConfig.from_dict(None)


def columns(n, width=9, start=0):
    return EnergyColumns(
        np.arange(start, start + n),
        np.zeros(n),
        np.arange(n),
        np.full((n, width), start, dtype=np.uint8),
    )


def test_columns():
    both = EnergyColumns.concat([columns(3), columns(2, start=3)])
    assert both.lambda_.tolist() == [0, 1, 2, 3, 4]
    assert both.cell.dtype == np.int32
    assert both.nbytes == 5 * (4 + 4 + 4 + 9)
    some = both.take([4, 0])
    assert some.lambda_.tolist() == [4, 0]
    assert some.residual[:, 0].tolist() == [3, 0]
    with pytest.raises(InvalidInputError, match="code length"):
        EnergyColumns.concat([columns(1), columns(1, width=8)])
    with pytest.raises(InvalidInputError, match="code_bytes"):
        EnergyColumns(np.zeros(2), np.zeros(3), np.zeros(3), np.zeros((3, 4)))


ARRAYS = st.dictionaries(
    st.text("abc_", min_size=1, max_size=5),
    st.sampled_from([np.float16, np.float32, np.int32, np.int64, np.uint8]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@settings(max_examples=50, deadline=None)
@given(ARRAYS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_packing_round_trip(given_arrays, metadata):
    blob = dumps(given_arrays, metadata)
    assert blob == dumps(dict(reversed(given_arrays.items())), metadata)
    found, description = loads(blob)
    assert description == metadata
    assert found.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_packing_notices_every_altered_byte():
    blob = dumps({"x": np.arange(3)}, {"a": "b"})
    for position in range(len(blob)):
        altered = bytearray(blob)
        altered[position] ^= 1
        with pytest.raises(CorruptFieldError):
            loads(bytes(altered))
    for bad in (b"", blob[:-1], blob + b"x", b"ENERGYP9" + blob[8:]):
        with pytest.raises(CorruptFieldError):
            loads(bad)


def test_packing_refuses_objects():
    with pytest.raises(InvalidInputError, match="plain numbers"):
        dumps({"x": np.array(["a"])}, {})


def test_fingerprint():
    vectors = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [0.0, -0.0]])
    got = fingerprint(vectors)
    assert got.dtype == np.uint32
    assert got[0] == got[1] == zlib.crc32(np.array([1, 2], "<f4").tobytes())
    assert got[0] != got[2]
    assert got[3] == fingerprint(np.zeros((1, 2)))[0]
    assert np.array_equal(fingerprint(vectors.astype(np.float16)), got)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[1.0, float("nan")]], "row 0"),
        ([[1.0, 2.0], [float("inf"), 0.0]], "row 1"),
        ([[1e300, 0.0]], "finite"),
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[[1.0]]], "shape"),
        (np.zeros((0, 4)), "at least one row"),
        (np.zeros((4, 0)), "at least one row"),
        ([], "shape"),
        ([["a", "b"]], "real numbers"),
        ([[1.0, 2.0], [1.0]], "same length"),
        ([[1j, 2j]], "real numbers"),
        ([[True, False]], "real numbers"),
        (None, "real numbers"),
        ({"a": 1}, "real numbers"),
    ],
)
def test_bad_vectors(bad, message):
    with pytest.raises(InvalidInputError, match=message):
        as_vectors(bad)


def test_good_vectors():
    same = np.ones((2, 3), dtype=np.float32)
    assert as_vectors(same) is same
    assert as_vectors(np.ones((3, 2), order="F")).flags.c_contiguous
    assert as_vectors([[1, 2]]).dtype == np.float32
    assert as_queries([1, 2], 2).shape == (1, 2)
    same.flags.writeable = False
    assert as_vectors(same).flags.writeable
    assert not same.flags.writeable
    with pytest.raises(InvalidInputError, match="3 dimensions, expected 4"):
        as_vectors(same, dim=4)
    with pytest.raises(InvalidInputError, match="3 dimensions, expected 4"):
        as_queries(same[0], 4)


@pytest.mark.parametrize("bad", [0, -1, 1.5, "3", None, True, np.float32(2)])
def test_bad_k(bad):
    with pytest.raises(InvalidInputError, match="at least 1"):
        as_k(bad)


def test_rows():
    assert as_k(np.int64(3)) == 3
    assert as_rows([3, 1, 3]).tolist() == [1, 3]
    assert as_rows(5).tolist() == [5]
    assert as_rows([]).dtype == np.int64
    for bad in ([1.5], [True, False], [[1]], ["a"], [[1], [1, 2]]):
        with pytest.raises(InvalidInputError, match="row"):
            as_rows(bad)
