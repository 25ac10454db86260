"""What holds of the core for any collection: codec, bytes, filters, batches, order, devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import energy_oracle as oracle
from support.energy_data import clustered
from support.equality import alike_but_for_ties

from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField, EnergyIndex
from energy_plugin.energy.codec import codes

BITS = (1, 2, 4, 8)
NAMES = ("lambda_", "dispersion", "cell", "residual")
CLOSE = 2e-4  # of distances between float32 in two orders of summing, or float64
# base distances alone: no choice of neighbours hangs on the last bit of a float
SMOOTH = {"local_heat": 0.0, "query_heat": 0.0, "weight_lambda": 0.02, "weight_dispersion": 0.01}
properties = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)


def collection(seed, n, dim, **changes):
    """An index of n rows, some of them twice and one of zeros, and queries."""
    rows = clustered(n, dim, topics=5, seed=seed)[0]
    if n > 8:
        rows[3], rows[5] = rows[2], 0
    index = EnergyIndex.fit(rows, EnergyConfig(**changes), device="cpu")
    queries = clustered(5, dim, topics=5, seed=seed)[0] + 0.3 * clustered(5, dim, seed=seed + 1)[0]
    return index, rows, queries


def assert_alike(found, wanted):
    """The same distances in the same order; rows of nearly one distance may change places."""
    np.testing.assert_allclose(found.distances, wanted.distances, atol=CLOSE)
    for ids, others, near in zip(found.ids, wanted.ids, wanted.distances, strict=True):
        place = dict(zip(others.tolist(), near.tolist(), strict=True))
        border = near[-1] if len(near) else 0.0  # ties at the end of the list may fall out
        got = np.array([place.get(row, border) for row in ids.tolist()])
        np.testing.assert_allclose(got, near, atol=2 * CLOSE)


# -- codes


@properties
@given(seeds, st.integers(1, 64), st.sampled_from(BITS), st.floats(0.01, 2.0))
def test_every_code_passes_its_check(seed, dim, bits, length):
    """Residuals as uneven as can be: one component, a few, all; none is refused as altered."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, dim)) * rng.random((40, dim)) ** rng.integers(0, 40, (40, 1))
    rows[0], rows[1, 1:] = 0, 0
    norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    rows = torch.from_numpy((rows / norms * length).astype(np.float32))
    made = codes.encode(rows, bits)
    codes.check(made, dim)
    for few in BITS:
        codes.check(codes.drop_planes(made, dim, few), dim)
        codes.check(codes.lowered(made, dim, few), dim)


@properties
@given(seeds, st.integers(16, 100))
def test_error_falls_with_every_bit(seed, dim):
    """Of rows in a random rotation, which is what is coded; each level with its own planes."""
    rng = np.random.default_rng(seed)
    rows = (rng.standard_normal((64, dim)) * rng.uniform(0.01, 0.1, (64, 1))).astype(np.float32)
    full = codes.encode(torch.from_numpy(rows), 8)
    fresh, dropped = [], []
    for bits in BITS:
        for errors, made in (
            (fresh, codes.encode(torch.from_numpy(rows), bits)),
            (dropped, codes.drop_planes(full, dim, bits)),
        ):
            errors.append(((codes.decode(made, dim) - rows) ** 2).sum() / (rows**2).sum())
    assert fresh == sorted(fresh, reverse=True)
    assert dropped == sorted(dropped, reverse=True)
    np.testing.assert_allclose(fresh, dropped, rtol=0.05, atol=1e-4)


# -- bytes


@properties
@given(seeds, st.integers(1, 80), st.integers(2, 24), st.sampled_from(BITS))
def test_saved_and_loaded_is_the_same_to_the_bit(seed, n, dim, bits):
    index, _, queries = collection(seed, n, dim, bits=bits)
    blob = index.field.to_bytes()
    field = EnergyField.from_bytes(blob)
    assert field.to_bytes() == blob
    assert field.fingerprint == index.field.fingerprint
    again = EnergyIndex.from_columns(field, index.columns, device="cpu")
    for name in NAMES:
        assert getattr(again.columns, name).tobytes() == getattr(index.columns, name).tobytes()
    for k in (1, 7, n):
        a, b = again.search(queries, k), index.search(queries, k)
        assert a.ids.tobytes() == b.ids.tobytes()
        assert a.distances.tobytes() == b.distances.tobytes()


@properties
@given(seeds, st.data())
def test_any_change_of_a_field_changes_its_fingerprint(seed, data):
    index, _, _ = collection(seed % 7, 40, 8)
    field = index.field
    arrays = ("centre", "metric", "anchors", "laplacian_data")
    name = data.draw(st.sampled_from(arrays))
    changed = {each: getattr(field, each) for each in arrays}
    array = changed[name].copy()
    flat = array.reshape(-1).view(f"u{array.itemsize}")
    flat[data.draw(st.integers(0, array.size - 1))] ^= 1
    changed[name] = array
    other = EnergyField(
        config=field.config,
        n_fitted=field.n_fitted,
        scalars=field.scalars,
        laplacian_indices=field.laplacian_indices,
        laplacian_indptr=field.laplacian_indptr,
        **changed,
    )
    assert other.fingerprint != field.fingerprint


# -- against the oracle, post-filtering, single queries


def in_double(index, queries):
    """Coordinates, λ and G of queries, and of the rows with a direction, in float64."""
    projection = index.field.projection("cpu")
    points, real = projection.project(queries.astype(np.float32))
    asked = [part.double().numpy() for part in (points, *projection.taumode(points, real))]
    columns, keep = index.columns, np.flatnonzero(index.columns.cell >= 0)
    rows = projection.decode(columns.cell, columns.residual).double().numpy()[keep]
    return asked, (rows, columns.lambda_[keep], columns.dispersion[keep]), keep


@properties
@given(seeds, st.integers(2, 90), st.sampled_from(BITS))
def test_base_distances_are_those_of_the_formulas(seed, n, bits):
    index, _, queries = collection(seed, n, 12, bits=bits, **SMOOTH)
    config, scalars = index.field.config, index.field.scalars
    asked, (rows, lambda_, dispersion), keep = in_double(index, queries)
    found = index.search(queries, len(keep))
    for i, (point, one_lambda, one_dispersion) in enumerate(zip(*asked, strict=True)):
        distances = config.weight_dirichlet * oracle.dirichlet(rows @ point)
        for weight, gap, scale in (
            (config.weight_lambda, lambda_ - one_lambda, scalars.scale_lambda),
            (config.weight_dispersion, dispersion - one_dispersion, scalars.scale_dispersion),
        ):
            distances += weight * np.minimum(8, np.abs(gap) / scale)
        np.testing.assert_allclose(found.distances[i], np.sort(distances), atol=CLOSE)
        place = dict(zip(keep.tolist(), distances.tolist(), strict=True))
        got = [place[row] for row in found.ids[i].tolist()]
        np.testing.assert_allclose(got, np.sort(distances), atol=2 * CLOSE)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seeds, st.integers(20, 60), st.sampled_from([4, 8]))
def test_the_query_s_graph_is_that_of_the_oracle(seed, n, bits):
    """But for rows whose eighth neighbour is as near as their ninth, to the last bit."""
    index, _, queries = collection(seed, n, 12, bits=bits)
    asked, held, keep = in_double(index, queries)
    found = index.search(queries, len(keep))
    off = 0
    for i, one in enumerate(zip(*asked, strict=True)):
        ids, distances = oracle.search(*one, *held, index.field)
        place = dict(zip(keep[ids].tolist(), distances.tolist(), strict=True))
        got = np.array([place[row] for row in found.ids[i].tolist()])
        off += int((np.abs(got - found.distances[i]) > CLOSE).sum())
    assert off <= 0.01 * len(queries) * len(keep)


@properties
@given(seeds, st.integers(1, 90), st.integers(1, 30), st.data())
def test_a_filter_is_post_filtering(seed, n, k, data):
    """Of base distances; with the query's graph, it is a search in the allowed rows alone."""
    index, _, queries = collection(seed, n, 12, **SMOOTH)
    allowed = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    whole = index.search(queries, n)
    mask = np.isin(whole.ids, allowed)
    found = index.search(queries, k, rows=allowed)
    few = min(k, len(allowed))
    assert found.ids.shape == (len(queries), few)
    for i in range(len(queries)):
        after = whole.distances[i][mask[i]]
        np.testing.assert_allclose(found.distances[i], after[:few], atol=CLOSE)
        place = dict(zip(whole.ids[i].tolist(), whole.distances[i].tolist(), strict=True))
        got = [place[row] for row in found.ids[i].tolist()]
        np.testing.assert_allclose(got, after[:few], atol=2 * CLOSE)

    default, _, _ = collection(seed, n, 12)
    alone = EnergyIndex.from_columns(default.field, default.columns.take(allowed), device="cpu")
    a, b = default.search(queries, k, rows=allowed), alone.search(queries, k)
    np.testing.assert_allclose(a.distances, b.distances, atol=CLOSE)


@properties
@given(seeds, st.integers(1, 90), st.integers(1, 30))
def test_a_batch_is_its_single_queries(seed, n, k):
    index, _, queries = collection(seed, n, 12, **SMOOTH)
    batch = index.search(queries, k)
    singles = [index.search(query, k) for query in queries]
    np.testing.assert_allclose(
        batch.distances, np.concatenate([one.distances for one in singles]), atol=CLOSE
    )
    turned = index.search(queries[::-1], k)
    np.testing.assert_allclose(batch.distances, turned.distances[::-1], atol=CLOSE)
    for i, one in enumerate(singles):
        whole = index.search(queries[i], n)
        place = dict(zip(whole.ids[0].tolist(), whole.distances[0].tolist(), strict=True))
        for ids in (batch.ids[i], one.ids[0], turned.ids[len(queries) - 1 - i]):
            got = [place[row] for row in ids.tolist()]
            np.testing.assert_allclose(got, one.distances[0], atol=2 * CLOSE)


# -- order


@properties
@given(seeds, st.integers(2, 90))
def test_the_order_of_stored_rows_changes_nothing_but_ties(seed, n):
    """A field and its columns in any order are one index. A fit is promised for one order only."""
    index, rows, queries = collection(seed, n, 12, **SMOOTH)
    order = np.random.default_rng(seed).permutation(n)
    turned = EnergyIndex.from_columns(index.field, index.columns.take(order), device="cpu")
    found, wanted = turned.search(queries, n), index.search(queries, n)
    np.testing.assert_allclose(found.distances, wanted.distances, atol=CLOSE)
    for ids, others, near in zip(order[found.ids], wanted.ids, wanted.distances, strict=True):
        place = dict(zip(others.tolist(), near.tolist(), strict=True))
        np.testing.assert_allclose([place[row] for row in ids.tolist()], near, atol=2 * CLOSE)
    lambda_, dispersion = index.field.taumode(rows[order])
    assert alike_but_for_ties(lambda_, index.columns.lambda_[order])
    assert alike_but_for_ties(dispersion, index.columns.dispersion[order])


@properties
@given(seeds, st.integers(20, 90))
def test_rows_added_together_or_one_by_one_are_the_same_rows(seed, n):
    """Where no heat flows between new rows, the order in which they come does not matter."""
    index, _, queries = collection(seed, n, 12, heat=0.0, **SMOOTH)
    fresh = clustered(6, 12, seed=seed + 9)[0]
    singly = EnergyIndex.from_columns(index.field, index.columns, device="cpu")
    index.add(fresh)
    for row in fresh[::-1]:
        singly.add(row[None])
    back = np.concatenate([np.arange(n), n + np.arange(6)[::-1]])
    assert np.array_equal(singly.columns.residual[back], index.columns.residual)
    assert np.array_equal(singly.columns.cell[back], index.columns.cell)
    found = singly.search(queries, n + 6)
    assert_alike(replace(found, ids=back[found.ids]), index.search(queries, n + 6))


# -- devices


@pytest.mark.gpu
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("n_probe", [None, 4, "all"])
def test_cuda_answers_as_the_cpu(bits, n_probe):
    index, rows, queries = collection(3, 900, 48, bits=bits, **SMOOTH)
    other = EnergyIndex.from_columns(index.field, index.columns, device="cuda")
    a = other.search(queries, 20, n_probe=n_probe)
    assert_alike(a, index.search(queries, 20, n_probe=n_probe))
    np.testing.assert_allclose(
        other.encode(rows[:50]).lambda_, index.encode(rows[:50]).lambda_, atol=1e-4
    )
    fitted = EnergyIndex.fit(rows, EnergyConfig(bits=bits, **SMOOTH), device="cuda")
    mean = np.mean(fitted.search(queries, 20).distances - index.search(queries, 20).distances)
    assert abs(mean) < 0.02


def test_columns_say_which_field_they_are_of():
    index, _, _ = collection(0, 30, 8)
    some = index.columns_of([3, 1])
    assert some.field_id == index.encode(np.eye(8, dtype=np.float32)).field_id
    assert some.field_id == index.field.fingerprint
    again = EnergyColumns(*(getattr(some, name) for name in NAMES))
    assert EnergyIndex.from_columns(index.field, again).columns.field_id == index.field.fingerprint
