"""The build on a Ray cluster of several workers on this machine."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import lancedb
import pytest
from energy_lancedb import EnergyTable
from support.lancedb_data import ENERGY, embed, plain_rows, plain_schema, rows_of, text_of
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.energy import EnergyConfig

ray = pytest.importorskip("ray")

EACH = 400
FRAGMENTS = 6


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def make(folder):
    """A table of several fragments, with deleted rows and a row without a vector."""
    table = lancedb.connect(folder).create_table("pages", plain_rows(EACH), schema=plain_schema())
    for i in range(1, FRAGMENTS):
        table.add(plain_rows(EACH, start=EACH * i))
    table.delete("id % 97 = 0")
    table.add([{**rows_of(1, start=90_000)[0], "vector": None}])
    return table


def assert_same_columns(one, other):
    left, right = (t.to_arrow().sort_by("id").select(["id", *ENERGY]) for t in (one, other))
    assert left["energy_cell"].null_count == 1
    assert left.equals(right)


@pytest.mark.parametrize("sample", [500, None], ids=["sample", "all rows"])
@pytest.mark.slow
def test_the_columns_are_those_of_the_local_build(cluster, tmp_path, sample):
    here, there = make(tmp_path / "here"), make(tmp_path / "there")
    EnergyTable(here).build(EnergyConfig(seed=4), sample=sample, layout="columns")
    energy = EnergyTable(there).build(EnergyConfig(seed=4), sample=sample, engine="ray")
    assert_same_columns(here, there)
    info = energy.info()
    assert info == EnergyTable(here).info()
    assert (len(info.pending), info.without_vector) == (0, 1)
    assert energy.search(embed([text_of(5)])[0]).limit(1).to_list()[0]["id"] == 5
    assert energy.verify() == []
    energy.add(plain_rows(3, start=50_000))
    assert len(energy.info().pending) == 0


def workers():
    """Processes that map a fragment at this moment."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::energy_fragment"):
                yield int(folder.name)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds workers in /proc")
def test_a_killed_worker_does_no_harm(cluster, tmp_path):
    """On busy cores a worker may be done before it is found: then another table is tried."""
    here = make(tmp_path / "here")
    EnergyTable(here).build(EnergyConfig(seed=4), sample=500, layout="columns")
    for attempt in range(10):
        there = make(tmp_path / f"there{attempt}")
        if _built_though_one_was_killed(there):
            break
    else:
        pytest.fail("no worker was found in ten builds")
    assert_same_columns(here, there)
    assert EnergyTable(there).verify() == []


def _built_though_one_was_killed(table):
    """Build on the cluster and kill a worker meanwhile; whether one was there to kill."""
    killed = []
    done = threading.Event()

    def kill():
        while not done.is_set() and not killed:
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                break
            time.sleep(0.005)

    hunter = threading.Thread(target=kill)
    hunter.start()
    try:
        EnergyTable(table).build(EnergyConfig(seed=4), sample=500, engine="ray")
    finally:
        done.set()
        hunter.join()
    return bool(killed)


def test_the_speed_of_the_mapping_is_measured(cluster):
    sizes = ["--planned", "1000000", "--sample", "800", "--mapped", "700", "--dim", "32"]
    done = CliRunner().invoke(app, ["bench-map", *sizes, "--workers", "2", "--json"])
    assert done.exit_code == 0, done.output
    costs = json.loads(done.stdout)
    assert (costs["anchors"], costs["sample"], costs["mapped"]) == (100, 800, 700)
    assert costs["rows_per_second"] == pytest.approx(700 / costs["map_seconds"] / 2)
    assert ray.is_initialized()
