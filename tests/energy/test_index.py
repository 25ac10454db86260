"""The index as its users see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.energy_data import clustered, exact_top, overlap, same
from support.equality import alike_but_for_ties

from energy_plugin.energy import (
    EnergyColumns,
    EnergyConfig,
    EnergyField,
    EnergyIndex,
    EnergyReranker,
)
from energy_plugin.energy.codec import codes
from energy_plugin.errors import CorruptFieldError, ForeignFieldError, InvalidInputError


def test_result(index, queries):
    result = index.search(queries, k=30)
    assert result.ids.shape == result.distances.shape == (20, 30)
    assert result.ids.dtype == np.int64
    assert result.distances.dtype == np.float32
    assert (np.diff(result.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 30 for row in result.ids.tolist())
    terms = result.terms
    total = terms.lambda_ + terms.dispersion + terms.dirichlet
    np.testing.assert_allclose(total, result.distances, atol=1e-6)
    assert (terms.lambda_ >= 0).all()
    assert (terms.dirichlet >= 0).all()
    assert result.work.rows_scored.tolist() == [600] * 20
    assert (result.work.cells_probed == len(np.unique(index.columns.cell))).all()


def test_every_row_comes_back_with_ascending_distances(index, queries):
    result = index.search(queries, k=10_000)
    assert (np.sort(result.ids, axis=1) == np.arange(600)).all()
    assert (np.diff(result.distances, axis=1) >= 0).all()


def test_a_shorter_list_is_the_head_of_a_longer_one(index, queries):
    long = index.search(queries, k=400)
    for k in (1, 10, 199, 200, 201):
        short = index.search(queries, k=k)
        assert np.array_equal(short.ids, long.ids[:, :k])
        np.testing.assert_allclose(short.distances, long.distances[:, :k], atol=1e-6)


def test_one_query_or_many(index, queries):
    many = index.search(queries, k=20)
    for i in range(5):
        one = index.search(queries[i], k=20)
        assert one.ids.shape == (1, 20)
        np.testing.assert_allclose(one.distances[0], many.distances[i], atol=1e-5)


def test_length_of_a_vector_does_not_matter(rows, queries, index):
    scaled = rows * np.random.default_rng(0).uniform(0.1, 10, (600, 1)).astype(np.float32)
    other = EnergyIndex.fit(scaled, device="cpu")
    np.testing.assert_allclose(
        other.search(queries * 3, 10).distances, index.search(queries, 10).distances, atol=2e-3
    )


def test_a_row_finds_itself_with_its_own_lambda(index, rows):
    result = index.search(rows[:50], k=1)
    assert (result.ids[:, 0] == np.arange(50)).mean() > 0.9
    lambda_, dispersion = index.field.taumode(rows)
    np.testing.assert_allclose(lambda_, index.columns.lambda_, atol=1e-5)
    np.testing.assert_allclose(dispersion, index.columns.dispersion, atol=1e-5)
    assert np.isfinite(lambda_).all()
    assert lambda_.min() >= 0
    assert 0 <= dispersion.min() <= dispersion.max() <= 1


def test_lambda_does_not_depend_on_the_order_of_rows(index, rows):
    order = np.random.default_rng(0).permutation(600)
    lambda_, _ = index.field.taumode(rows[order])
    assert alike_but_for_ties(lambda_, index.columns.lambda_[order])


def test_same_seed_same_bytes(rows):
    first, second = (EnergyIndex.fit(rows, device="cpu") for _ in range(2))
    assert first.field.to_bytes() == second.field.to_bytes()
    for name in ("lambda_", "dispersion", "cell", "residual"):
        mine, other = getattr(first.columns, name), getattr(second.columns, name)
        assert mine.tobytes() == other.tobytes()
    third = EnergyIndex.fit(rows, EnergyConfig(seed=1), device="cpu")
    assert third.field.to_bytes() != first.field.to_bytes()


@pytest.mark.parametrize("config", [EnergyConfig(), EnergyConfig.preset("arrowspace", bits=1)])
def test_round_trip_through_bytes(rows, queries, config):
    index = EnergyIndex.fit(rows, config, device="cpu")
    blob = index.field.to_bytes()
    field = EnergyField.from_bytes(blob)
    assert field.to_bytes() == blob
    assert field.config == config
    assert (field.dim, field.n_fitted) == (48, 600)
    again = EnergyIndex.from_columns(field, index.columns, device="cpu")
    same(again.search(queries, 50), index.search(queries, 50))


def test_stored_size(index):
    """Bytes a row at 4 bits and 48 dimensions: 3·4 + 5 + 24."""
    assert index.columns.nbytes == 600 * 41
    assert len(index.field.to_bytes()) < 48 * 48 * 2 + index.field.n_anchors * 48 * 2 + 40_000


def test_reopening_refuses_what_does_not_belong(index, rows):
    assert index.columns.field_id == index.field.fingerprint
    columns = replace(index.columns, field_id=None)  # as a host that does not keep it
    wide = EnergyIndex.fit(clustered(50, 64)[0], device="cpu")
    with pytest.raises(ForeignFieldError, match="do not belong"):
        EnergyIndex.from_columns(wide.field, columns)
    few = EnergyIndex.fit(rows, EnergyConfig(n_anchors=3), device="cpu")
    with pytest.raises(ForeignFieldError, match="3 cells"):
        EnergyIndex.from_columns(few.field, columns)
    turned = EnergyIndex.fit(rows, EnergyConfig(seed=1), device="cpu")
    for other, field in ((index.columns, turned.field), (turned.columns, index.field)):
        with pytest.raises(ForeignFieldError, match="rotation"):
            EnergyIndex.from_columns(field, other)
        with pytest.raises(ForeignFieldError, match="rotation"):
            EnergyReranker(field).rerank(rows[0], None, columns=other)
    with pytest.raises(ForeignFieldError, match="belong to the fields"):
        EnergyColumns.concat([index.columns, turned.columns])
    for place, value, message in (
        ((5, 0), 77, "bit planes"),
        ((5, 2), 0x7C, "scale (inf|nan)"),
        ((5, 4), 0xBC, "correction -"),
    ):
        damaged = columns.take(np.arange(600))
        damaged.residual[place] = value
        with pytest.raises(CorruptFieldError, match=message):
            EnergyIndex.from_columns(index.field, damaged)
    for name in ("lambda_", "dispersion"):
        for value in (np.nan, -0.5, 2.0):
            damaged = columns.take(np.arange(600))
            getattr(damaged, name)[7] = value
            with pytest.raises(CorruptFieldError, match="1 of 600 rows"):
                EnergyIndex.from_columns(index.field, damaged)
    blob = bytearray(index.field.to_bytes())
    blob[len(blob) // 2] ^= 4
    with pytest.raises(CorruptFieldError, match="checksum"):
        EnergyField.from_bytes(bytes(blob))


def test_reopening_without_rows(index, rows, queries):
    none = EnergyIndex.from_columns(index.field, index.columns.take(slice(0, 0)), device="cpu")
    assert len(none) == 0
    assert none.search(queries, 5).ids.shape == (20, 0)
    assert none.add(rows[:40]).tolist() == list(range(40))
    assert none.search(rows[7], 3).ids[0, 0] == 7


@pytest.mark.parametrize("count", [1, 7, 150, 400])
def test_prefilter(index, queries, count):
    allowed = np.sort(np.random.default_rng(count).choice(600, count, replace=False))
    for k in (5, 300):
        result = index.search(queries, k=k, rows=allowed)
        assert result.ids.shape == (20, min(k, count))
        assert np.isin(result.ids, allowed).all()
        assert (np.diff(result.distances, axis=1) >= 0).all()
    shuffled = index.search(queries, k=5, rows=allowed[::-1])
    same(shuffled, index.search(queries, k=5, rows=allowed))


def test_prefilter_of_everything_is_no_filter(index, queries):
    same(index.search(queries, 20, rows=np.arange(600)), index.search(queries, 20))


def test_prefilter_ignores_unknown_rows_and_may_be_empty(index, queries):
    assert index.search(queries, 5, rows=[3, 10_000, -4]).ids.tolist() == [[3]] * 20
    empty = index.search(queries, 5, rows=[])
    assert empty.ids.shape == (20, 0)
    assert empty.terms.lambda_.shape == (20, 0)
    with pytest.raises(InvalidInputError, match="flatnonzero"):
        index.search(queries, 5, rows=np.ones(600, dtype=bool))


def test_more_bits_find_more_of_the_exact_neighbours(rows, queries):
    """recall@10 against the 8-bit order of base distances; measured .70 .84 .96 1."""
    recall = []
    config = {"weight_lambda": 0.0, "local_heat": 0.0, "query_heat": 0.0}
    exact = None
    for bits in (8, 4, 2, 1):
        index = EnergyIndex.fit(rows, EnergyConfig(bits=bits, **config), device="cpu")
        found = index.search(queries, 10).ids
        exact = found if exact is None else exact
        recall.append(
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
        )
    assert recall == sorted(recall, reverse=True)
    assert recall[1] > 0.85
    assert recall[3] > 0.45


def test_dropped_planes_still_search(index, queries):
    columns = index.columns
    few = replace(columns, residual=codes.drop_planes(columns.residual, 48, 2))
    low = EnergyIndex.from_columns(index.field, few, device="cpu")
    a, b = low.search(queries, 10).ids, index.search(queries, 10).ids
    assert overlap(a, b) > 0.6
    low.add(clustered(3, 48, seed=9)[0])
    assert len(low) == 603
    assert low.columns.residual.shape[1] == codes.code_bytes(48, 2)


def test_cell_probing_agrees_with_the_whole(rows, queries, index):
    """A tenth of the rows in the nearest cells; measured recall@10 .93, all rows: the same."""
    heavy = EnergyConfig(exhaustive_rows=100, pool=20, weight_lambda=0.05)  # no sketches
    few = EnergyIndex.fit(rows, heavy, device="cpu")
    some = few.search(queries[:10], 10)
    assert (some.work.rows_scored < 250).all()
    assert (some.work.cells_probed < few.field.n_anchors).all()
    assert overlap(some.ids, few.search(queries[:10], 10, n_probe="all").ids) > 0.7
    full = EnergyIndex.fit(rows, EnergyConfig(exhaustive_rows=100), device="cpu").search(
        queries, 700, n_probe=10_000
    )
    exhaustive = index.search(queries, 700)
    np.testing.assert_allclose(full.distances, exhaustive.distances, atol=1e-5)
    assert few.search(queries, 5, rows=np.arange(0, 600, 4)).ids.shape == (20, 5)
    added = few.add(rows[:30] + 0.001)
    assert len(added) == 30
    assert added[3] in few.search(rows[3], 3).ids


def test_drift(rows):
    index = EnergyIndex.fit(rows[:300], device="cpu")
    calm = index.drift()
    assert calm.distortion == pytest.approx(1, abs=0.02)
    assert calm.lambda_shift == pytest.approx(0, abs=0.05)
    index.add(clustered(300, 48, seed=77)[0])
    assert index.drift().distortion > calm.distortion + 0.1


def test_progress_bar(rows, capsys):
    EnergyIndex.fit(rows[:30], show_progress_bar=True, device="cpu")
    assert "energy field" in capsys.readouterr().err
    EnergyIndex.fit(rows[:30], device="cpu")
    assert capsys.readouterr().err == ""


def test_energy_beats_cosine_where_rows_share_directions():
    """Topics under noise that neighbourhoods share.

    Mean precision@20 of the topic, measured: cosine .89, energy .97.
    """
    everything, topic = clustered(1100, 64, topics=40, spread=1.1, shared=1.0)
    rows, queries, wanted = everything[:1000], everything[1000:], topic[1000:]
    index = EnergyIndex.fit(rows, device="cpu")
    found = index.search(queries, 20).ids
    cosine = exact_top(rows, queries, 20)
    precision = [(topic[ids] == wanted[:, None]).mean() for ids in (cosine, found)]
    assert precision[1] > precision[0] + 0.04


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(rows, queries):
    index = EnergyIndex.fit(rows, device="cpu")
    other = EnergyIndex.from_columns(index.field, index.columns, device="cuda")
    a, b = index.search(queries, 50), other.search(queries, 50)
    np.testing.assert_allclose(a.distances, b.distances, atol=1e-3)
    assert (a.ids == b.ids).mean() > 0.9


def test_n_probe(rows, queries):
    index = EnergyIndex.fit(rows, EnergyConfig.plain(8, n_anchors=30), device="cpu")
    whole = index.search(queries, 10, n_probe="all")
    same(whole, index.search(queries, 10))
    assert overlap(whole.ids, exact_top(rows, queries, 10)) > 0.97  # measured .98
    every_cell = index.search(queries, 10, n_probe=30)
    assert np.array_equal(every_cell.ids, whole.ids)
    np.testing.assert_allclose(every_cell.distances, whole.distances, atol=1e-6)
    few = index.search(queries, 10, n_probe=4)
    assert (few.work.cells_probed == 4).all()
    assert overlap(few.ids, whole.ids) > 0.6
    # more cells where the nearest ones hold too few rows
    assert index.search(queries, 500, n_probe=1).ids.shape == (20, 500)
    assert index.search(queries, 5, n_probe=2, rows=np.arange(100)).ids.max() < 100
    for bad in (0, -1, 2.5, "some", True):
        with pytest.raises(InvalidInputError, match="n_probe"):
            index.search(queries, 10, n_probe=bad)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_plain_codec_ranks_by_distance_alone(rows, queries, bits):
    config = EnergyConfig.plain(bits)
    assert EnergyConfig.plain(residual_bits=bits) == config
    index = EnergyIndex.fit(rows, config, device="cpu")
    result = index.search(queries, 20)
    assert not result.terms.lambda_.any()
    assert not result.terms.dispersion.any()
    assert np.array_equal(index.field.metric, np.eye(48, dtype=np.float16))
    assert not index.field.centre.any()
    with pytest.raises(InvalidInputError, match="bits must be"):
        EnergyConfig.plain(3)


def test_the_same_seed_gives_the_same_bytes_on_several_threads():
    rows, _ = clustered(4000, 48)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        made = [EnergyIndex.fit(rows, device="cpu") for _ in range(4)]
    finally:
        torch.set_num_threads(threads)
    assert len({index.field.to_bytes() for index in made}) == 1
    assert len({index.columns.residual.tobytes() for index in made}) == 1
