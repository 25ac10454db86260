"""Properties of the residual codec and of the rotation in front of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from energy_plugin.energy.codec import codes
from energy_plugin.energy.codec.rotation import rotation, splitmix64
from energy_plugin.errors import CorruptFieldError, InvalidInputError

BITS = (1, 2, 4, 8)
ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 40)),
    elements=st.floats(-1, 1, width=32).map(lambda x: 0.0 if abs(x) < 1e-4 else x),
)


def gaussian(n, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32) * 0.05


def relative_error(residuals, decoded):
    return ((decoded - residuals) ** 2).sum() / (residuals**2).sum()


@pytest.mark.parametrize(
    ("dim", "bits", "size"), [(384, 1, 53), (384, 2, 101), (384, 4, 197), (384, 8, 389), (3, 4, 9)]
)
def test_stored_bytes(dim, bits, size):
    assert codes.code_bytes(dim, bits) == size
    assert codes.encode(torch.zeros(2, dim), bits).shape == (2, size)


def test_error_falls_with_bits():
    """Mean squared error over that of the residual, Gaussian, 64 dimensions.

    Measured .561, .140, .0094, .00004 (with κ, which trades a little error for no bias);
    the best scalar quantisers without κ have .363, .1175, .0095, .00004.
    """
    residuals = gaussian(400, 64)
    error = [
        relative_error(residuals, codes.decode(codes.encode(torch.tensor(residuals), b), 64))
        for b in BITS
    ]
    assert error == sorted(error, reverse=True)
    for got, bound in zip(error, (0.60, 0.15, 0.0105, 0.00006), strict=True):
        assert got < bound


@pytest.mark.parametrize("bits", BITS)
def test_inner_products_are_unbiased(bits):
    """⟨r, decoded⟩ = ρ² by construction, and for other queries in the mean."""
    residuals = gaussian(2000, 48)
    decoded = codes.decode(codes.encode(torch.tensor(residuals), bits), 48)
    own = (residuals * decoded).sum(1) / (residuals**2).sum(1)
    np.testing.assert_allclose(own, 1, atol=2e-3)  # float16 σ and κ
    queries = residuals + gaussian(2000, 48, seed=1)
    slope = (queries * decoded).sum() / (queries * residuals).sum()
    assert slope == pytest.approx(1, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(BITS))
def test_decoding_is_finite_and_keeps_the_direction(residuals, bits):
    decoded = codes.decode(codes.encode(torch.tensor(residuals), bits), residuals.shape[1])
    assert decoded.shape == residuals.shape
    assert np.isfinite(decoded).all()
    norm = np.linalg.norm(residuals, axis=1)
    assert ((residuals * decoded).sum(1)[norm > 0.01] > 0).all()
    assert not decoded[norm == 0].any()


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_planes_are_nested(residuals):
    """The high planes of an 8-bit code are the code of fewer bits."""
    dim = residuals.shape[1]
    full = codes.encode(torch.tensor(residuals), 8)
    for bits in (1, 2, 4):
        few = codes.encode(torch.tensor(residuals), bits)
        dropped = codes.drop_planes(full, dim, bits)
        assert dropped.shape == few.shape
        assert np.array_equal(dropped[:, [0, 1, 2]], few[:, [0, 1, 2]])
        assert np.array_equal(dropped[:, codes.HEADER_BYTES :], few[:, codes.HEADER_BYTES :])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_dropped_planes_decode_like_fresh_ones(bits):
    residuals = gaussian(300, 64)
    full = codes.encode(torch.tensor(residuals), 8)
    dropped = codes.decode(codes.drop_planes(full, 64, bits), 64)
    fresh = codes.decode(codes.encode(torch.tensor(residuals), bits), 64)
    np.testing.assert_allclose(dropped, fresh, rtol=0.02, atol=1e-5)


def test_dropping_to_more_bits_changes_nothing():
    code = codes.encode(torch.tensor(gaussian(5, 20)), 2)
    assert np.array_equal(codes.drop_planes(code, 20, 8), code)
    with pytest.raises(InvalidInputError, match="bits"):
        codes.drop_planes(code, 20, 3)


def test_rows_of_different_bits_share_a_column():
    residuals = gaussian(6, 32)
    full = codes.encode(torch.tensor(residuals), 4)
    mixed = full.copy()
    low = codes.drop_planes(full[3:], 32, 1)
    mixed[3:] = 0
    mixed[3:, : low.shape[1]] = low
    decoded = codes.decode(mixed, 32)
    assert np.array_equal(decoded[:3], codes.decode(full[:3], 32))
    assert np.array_equal(decoded[3:], codes.decode(low, 32))


def test_altered_codes_are_refused():
    code = codes.encode(torch.tensor(gaussian(4, 32)), 2)
    for value in (0, 3, 8):
        bad = code.copy()
        bad[2, 0] = value
        with pytest.raises(CorruptFieldError, match="bit planes"):
            codes.decode(bad, 32)


def test_squared_residuals():
    residuals = gaussian(50, 32)
    got = codes.squared_residuals(codes.encode(torch.tensor(residuals), 1), 32)
    np.testing.assert_allclose(got, (residuals**2).sum(1), rtol=2e-3)


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 48, 384])
def test_rotation_is_orthogonal_and_spreads(dim):
    matrix = rotation(dim, 0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(dim), atol=2e-6)
    if dim == 384:
        # an axis becomes close to Gaussian: measured kurtosis 2.5–3.7, largest entry .23
        assert np.abs(matrix).max() < 0.3
        assert (matrix**4).mean(1).max() * dim**2 < 4.5


def test_rotation_of_a_seed_never_changes():
    assert [hex(w) for w in splitmix64(0, 2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
    assert not np.array_equal(rotation(16, 0), rotation(16, 1))
    assert np.array_equal(rotation(16, 7), rotation(16, 7))
