"""A fit under a memory limit: what it takes, what it finds, what it refuses.

The growth of the resident memory is that of a process of its own, after a first small fit has
loaded what is loaded once. Measured, as a share of the limit (growth / limit): 60,000 rows of
384 dimensions under 64 MB 0.85, under 200 MB 0.74; 30,000 of 1,024 under 128 MB 0.76; 60,000 of
64 at 8 bits under 20 MB 0.87 (before `SLACK`); 30,000 of 128 at 2 bits under 12 MB 0.71 to 0.90
in 14 runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.energy_data import clustered, overlap
from support.equality import alike_but_for_ties

from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyIndex
from energy_plugin.energy.fit import budget as memory
from energy_plugin.energy.fit import streaming as passes
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_memory_limit

slow = pytest.mark.slow

NAMES = ("lambda_", "dispersion", "cell", "residual")

CHILD = """
import ctypes, gc, json, sys
import numpy as np
import torch
from energy_plugin.energy import EnergyConfig, EnergyIndex

torch.set_num_threads(1)  # each thread has work space of its own

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) * 1024

path, limit, bits = sys.argv[1], sys.argv[2], int(sys.argv[3])
warm = np.random.default_rng(0).standard_normal((9000, 16))
for bound in ("100 MB", "8 MB"):
    EnergyIndex.fit(warm, device="cpu", memory_limit=bound)
vectors = np.load(path, mmap_mode="r")
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
before, code = status("VmRSS"), status("RssFile")
index = EnergyIndex.fit(vectors, EnergyConfig(bits=bits), device="cpu", memory_limit=limit)
grown = status("VmHWM") - before - (status("RssFile") - code)  # libraries' code, now loaded
print(json.dumps({"grown": grown, "rows": len(index),
                  "fitted": index.field.n_fitted}))
"""


def same_columns(a: EnergyColumns, b: EnergyColumns):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in NAMES)


def written(path, rows, dim):
    """Vectors in a file, made block by block."""
    file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))
    for start in range(0, rows, 4096):
        part = clustered(min(4096, rows - start), dim, seed=start)[0]
        file[start : start + len(part)] = part
    file.flush()
    return path


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("rows", "dim", "limit", "bits"),
    [
        (30_000, 128, "12 MB", 2),
        pytest.param(60_000, 384, "64 MB", 4, marks=slow),
        pytest.param(30_000, 1024, "96 MiB", 4, marks=slow),
        pytest.param(60_000, 64, "15 MB", 8, marks=slow),
    ],
)
def test_the_memory_stays_under_the_limit(tmp_path, rows, dim, limit, bits):
    path = written(tmp_path / "vectors.npy", rows, dim)
    command = [sys.executable, "-c", CHILD, str(path), limit, str(bits)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    got = json.loads(run.stdout)
    assert 4 * rows * dim > as_memory_limit(limit), "the collection is larger than the limit"
    assert got["rows"] == rows
    assert memory.LEAST_SAMPLE <= got["fitted"] < rows
    assert got["grown"] < as_memory_limit(limit)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small blocks on several threads of a busy machine are mostly waiting."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def many():
    return clustered(8_000, 32)[0]


@pytest.fixture(scope="module")
def limited(many):
    return EnergyIndex.fit(many, device="cpu", memory_limit="8 MB")


def test_the_same_seed_gives_the_same_columns(many, limited):
    again = EnergyIndex.fit(many, device="cpu", memory_limit=8_000_000)
    assert same_columns(again.columns, limited.columns)
    assert again.field.to_bytes() == limited.field.to_bytes()
    other = EnergyIndex.fit(many, EnergyConfig(seed=1), device="cpu", memory_limit="8 MB")
    assert not same_columns(other.columns, limited.columns)


def test_a_collection_that_fits_has_the_columns_of_an_unlimited_fit(rows):
    plain = EnergyIndex.fit(rows, device="cpu")
    for limit in ("1 GiB", 2**33):
        under = EnergyIndex.fit(rows, device="cpu", memory_limit=limit)
        assert same_columns(under.columns, plain.columns)
        assert under.field.to_bytes() == plain.field.to_bytes()


def test_it_finds_what_an_unlimited_fit_finds(many, limited):
    """Share of the 10 nearest rows by cosine that are found: 0.879 unlimited, 0.878 under 8 MB."""
    queries = clustered(100, 32, seed=9)[0]
    exact = np.argsort(-(queries @ many.T), axis=1)[:, :10]
    config = EnergyConfig.plain(residual_bits=4)
    found = {
        limit: overlap(
            EnergyIndex.fit(many, config, device="cpu", memory_limit=limit)
            .search(queries, 10, n_probe="all")
            .ids,
            exact,
        )
        for limit in (None, "8 MB")
    }
    assert found["8 MB"] > found[None] - 0.05
    assert limited.field.n_fitted < len(many) / 2


def test_rows_of_the_sample_have_the_columns_of_the_fit(many):
    """The others get theirs by `RowMapper`, whatever the block they are read in."""
    plan = memory.plan(len(many), 32, EnergyConfig(), 8_000_000)
    read = passes.slices(many)
    field, columns = passes.fit_in_passes(read, plan, len(many), EnergyConfig(), device="cpu")
    small = memory.Plan(plan.sample, 97, plan.block_values)
    again, others = passes.fit_in_passes(read, small, len(many), EnergyConfig(), device="cpu")
    assert field.to_bytes() == again.to_bytes()
    chosen = np.sort(np.random.default_rng(0).choice(len(many), plan.sample, replace=False))
    assert same_columns(columns.take(chosen), others.take(chosen))
    assert alike_but_for_ties(columns.cell, others.cell)  # block sizes round differently
    assert alike_but_for_ties(columns.lambda_, others.lambda_)


def test_rows_that_come_and_go_between_the_passes(many):
    """A row of the sample is known by place and fingerprint, so that none gets another's."""
    versions = [many, many[500:], np.concatenate([many, many[:700]])]
    plan = memory.plan(len(many), 32, EnergyConfig(), 8_000_000)
    whole = passes.fit_in_passes(passes.slices(many), plan, len(many), EnergyConfig())[1]
    for later in versions[1:]:
        parts = iter([many, later])

        def read(rows, parts=parts):
            return passes.slices(next(parts))(rows)

        columns = passes.fit_in_passes(read, plan, len(many), EnergyConfig(), device="cpu")[1]
        assert len(columns) == len(later)
        shared = min(len(later), len(many))
        first, second = (
            (columns.take(slice(0, shared)), whole.take(slice(len(many) - shared, None)))
            if len(later) < len(many)
            else (columns.take(slice(0, shared)), whole)
        )
        assert (first.cell == second.cell).mean() > 0.97


def test_rows_without_direction_and_lists(many):
    some = many.copy()
    some[::10] = 0
    index = EnergyIndex.fit(some, device="cpu", memory_limit="8 MB")
    assert np.array_equal(index.columns.cell == -1, ~some.any(axis=1))
    listed = EnergyIndex.fit(some[:40].tolist(), device="cpu", memory_limit="1 GB")
    assert len(listed) == 40


def test_a_refit_under_a_limit_keeps_numbers_and_fidelity(many, limited):
    index = EnergyIndex.from_columns(limited.field, limited.columns, device="cpu")
    index.remove(np.arange(0, 1000))
    index.lower(np.arange(1000, 1100), 1)
    for vectors in (many[1000:], None):
        again = index.refit(vectors, memory_limit="8 MB")
        assert np.array_equal(again.rows, np.arange(1000, len(many)))
        assert again.field.n_fitted < len(many) / 2
        assert (again.columns_of(np.arange(1000, 1100)).residual[:, 0] == 1).all()
    with pytest.raises(InvalidInputError, match="for 7000 live rows"):
        index.refit(many, memory_limit="8 MB")


def test_a_limit_too_small_says_the_least(many):
    with pytest.raises(InvalidInputError, match=r"leaves 0\.5 MB.*need at least (\d+) MB") as error:
        EnergyIndex.fit(many, device="cpu", memory_limit="500 kB")
    least = int(str(error.value).partition("at least ")[2].split()[0])
    assert len(EnergyIndex.fit(many, device="cpu", memory_limit=f"{least} MB")) == len(many)


def test_a_bad_vector_is_named_by_its_block(many):
    some = many.copy()
    some[6000, 3] = np.nan
    with pytest.raises(InvalidInputError, match=r"vectors\[\d+:\d+\] must be finite"):
        EnergyIndex.fit(some, device="cpu", memory_limit="8 MB")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64 MB", 64_000_000),
        ("64MiB", 64 * 2**20),
        ("1.5 gb", 1_500_000_000),
        ("2G", 2_000_000_000),
        ("512 kB", 512_000),
        ("10 GiB", 10 * 2**30),
        ("4096", 4096),
        ("4096 B", 4096),
        (np.int64(7), 7),
        (None, None),
    ],
)
def test_a_limit_is_a_number_of_bytes_or_a_text(text, size):
    assert as_memory_limit(text) == size


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "", "MB", "2 bananas", "1e9", [1]])
def test_what_is_no_limit(limit):
    with pytest.raises(InvalidInputError, match="'512 MB' or '2 GiB', got"):
        EnergyIndex.fit(np.eye(4), memory_limit=limit)
