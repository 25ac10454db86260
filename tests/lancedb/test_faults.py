"""Faults with real processes: killed builds, a full disk, read-only storage, other writers."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from energy_lancedb import EnergyTable
from support.lancedb_data import DIM, embed, hits, plain_rows, plain_schema, text_of
from support.moments import once, seen
from support.processes import bound_by_permissions

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import CorruptFieldError
from energy_plugin.stored.moments import Moment

N = 200
QUERY = embed(["heart plain heart"])[0]
HERE = Path(__file__).parents[1]


def process(folder, code, command=None, **options):
    """Another Python process over the table in `folder`; `energy` and `table` are there."""
    head = f"""
        import sys, time
        sys.path.insert(0, {str(HERE)!r})
        import lancedb
        from support.lancedb_data import plain_rows, embed, hits
        from energy_lancedb import EnergyTable
        from energy_plugin.energy import EnergyConfig
        from energy_plugin.stored.moments import Moment, watching
        from support.moments import once
        table = lancedb.connect({str(folder)!r}).open_table("pages")
        energy = EnergyTable(table, device="cpu")
        QUERY = embed(["heart plain heart"])[0]
        def stand():
            print("standing", flush=True)
            time.sleep(600)
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.Popen(
        [*(command or [sys.executable, "-W", "ignore", "-c"]), text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(child, code=0):
    out, err = child.communicate(timeout=240)
    assert child.returncode == code, err
    return out.split()


@pytest.fixture
def energy(tmp_path):
    table = lancedb.connect(tmp_path).create_table("pages", plain_rows(N), schema=plain_schema())
    rng = np.random.default_rng(3)
    drifted = np.eye(DIM, dtype=np.float32)[0] + rng.normal(0, 0.1, (80, DIM))
    energy = EnergyTable(table).build(EnergyConfig(bits=8), layout="columns")
    rows = zip(plain_rows(80, start=N), drifted.astype(np.float32), strict=True)
    energy.add([{**row, "vector": vector} for row, vector in rows])
    return energy


@pytest.mark.parametrize(
    ("call", "moment", "generation"),
    [
        ("build(EnergyConfig(bits=2))", "COLUMNS_WRITTEN", 1),
        ("refit()", "FIELD_WRITTEN", 1),
        ("maintain()", "INDEXED", 2),
    ],
)
def test_killed_in_the_middle(energy, tmp_path, call, moment, generation):
    before = hits(energy, QUERY)
    child = process(tmp_path, f"with once(Moment.{moment}, stand):\n    energy.{call}")
    assert child.stdout.readline() == "standing\n"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=300)
    again = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    info = again.info()
    assert (info.generation, info.rows, len(info.pending)) == (generation, N + 80, 0)
    assert info.config["bits"] == 8
    if generation == 1:
        assert hits(again, QUERY) == before
    assert again.repair().remaining == ()
    assert len(hits(again, QUERY)) == 10
    again.refit()
    assert again.verify() == []
    assert not [name for name in again.table.schema.names if "__" in name]


def test_a_full_disk(energy, tmp_path):
    """No file may grow beyond 4 kB, which neither the field nor the columns fit in."""
    before = hits(energy, QUERY)
    code = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        for call in (energy.build, energy.refit, lambda: energy.add(plain_rows(100, start=1000))):
            try:
                call()
            except (OSError, RuntimeError, ValueError) as error:
                print("refused", flush=True)
        print(energy.info().generation, len(hits(energy, QUERY)))
    """
    assert finished(process(tmp_path, code)) == ["refused"] * 3 + ["1", "10"]
    again = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    assert hits(again, QUERY) == before
    assert again.info().rows == N + 80
    assert again.build().verify() == []


def test_the_columns_alone_do_not_fit(energy, tmp_path):
    """The field fits on the disk, the file of the columns does not: nothing is half there."""
    before = hits(energy, QUERY)
    code = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            with once(Moment.FIELD_WRITTEN, limit):
                energy.build()
        except (OSError, RuntimeError, ValueError) as error:
            print("refused", flush=True)
        print(energy.info().generation, len(hits(energy, QUERY)))
    """
    assert finished(process(tmp_path, code)) == ["refused", "1", "10"]
    again = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    assert hits(again, QUERY) == before
    assert again.repair().remaining == ()


def test_read_only_storage(energy, tmp_path):
    before = [row["id"] for row in hits(energy, QUERY)]
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = """
        print(*[row["id"] for row in hits(energy, QUERY)])
        for call in (energy.build, energy.refit, lambda: energy.add(plain_rows(1, start=900))):
            try:
                call()
            except (OSError, RuntimeError, ValueError):
                print("refused")
        print(energy.info().generation, energy.verify() == [])
    """
    try:
        child = process(tmp_path, code, command=bound_by_permissions())
        assert finished(child) == [*map(str, before), *["refused"] * 3, "1", "True"]
    finally:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_another_process_adds_during_the_build(energy, tmp_path):
    code = """
        print("ready", flush=True)
        for i in range(8):
            table.add(plain_rows(3, start=1000 + 3 * i))
    """
    child = process(tmp_path, code)
    assert child.stdout.readline() == "ready\n"
    for bits in (2, 4):
        energy.build(EnergyConfig(bits=bits))
    finished(child)
    energy.refresh()
    info = energy.info()
    assert (info.rows, len(info.pending)) == (N + 80 + 24, 0)
    found = {row["id"] for row in hits(energy, QUERY, 10_000)}
    assert set(range(1000, 1024)) <= found
    assert hits(energy, embed([text_of(1010)])[0], 1)[0]["id"] == 1010
    assert energy.verify() == []


def test_columns_that_another_build_adds_in_between(energy, tmp_path):
    other = lancedb.connect(tmp_path).open_table("pages")
    tries, listening = seen(Moment.AT_VERSION)

    def add():
        other.add_columns({"energy_lambda__next": "cast(0 as float)"})

    with once(Moment.AT_VERSION, add), listening:
        energy.build(EnergyConfig(bits=2))
    assert len(tries) > 1
    assert energy.info().config["bits"] == 2
    assert energy.verify() == []
    assert not [name for name in energy.table.schema.names if name.endswith("__next")]


def test_two_processes_build_at_once(energy, tmp_path):
    children = [process(tmp_path, f"energy.build(EnergyConfig(bits={b}))") for b in (2, 4)]
    for child in children:
        finished(child)
    again = EnergyTable(lancedb.connect(tmp_path).open_table("pages"))
    info = again.info()
    assert info.config["bits"] in (2, 4)
    assert (info.rows, len(info.pending)) == (N + 80, 0)
    assert again.verify() == []


def test_a_companion_of_another_table(energy, tmp_path):
    database = lancedb.connect(tmp_path)
    other = database.create_table("other", plain_rows(60, start=5000), schema=plain_schema())
    EnergyTable(other).build(EnergyConfig(bits=8))
    foreign = database.open_table("other__energy").to_arrow()
    database.drop_table("pages__energy")
    database.create_table("pages__energy", foreign)
    again = EnergyTable(database.open_table("pages"))
    with pytest.raises(CorruptFieldError, match=r"0 chunks, expected 1.*build\(\)"):
        hits(again, QUERY)
    assert again.repair(rebuild=True).remaining == ()
    assert {row["id"] for row in hits(again, QUERY, 1000)} == set(range(N + 80))


def test_a_table_that_changed_its_schema(energy):
    table = energy.table
    before = [row["id"] for row in hits(energy, QUERY)]
    table.add_columns({"words": "length(text)"})
    table.alter_columns(
        {"path": "topic", "rename": "subject"}, {"path": "year", "data_type": pa.int32()}
    )
    table.drop_columns(["text"])
    assert [row["id"] for row in hits(energy, QUERY)] == before
    row = energy.search(QUERY).limit(1).to_list()[0]
    assert {"words", "subject"} <= set(row)
    assert "text" not in row
    table.alter_columns({"path": "vector", "rename": "embedding"})
    assert [row["id"] for row in hits(energy, QUERY)] == before
    table.alter_columns({"path": "embedding", "rename": "vector"})
    assert [row["id"] for row in hits(energy, QUERY)] == before
    half = pa.list_(pa.float16(), DIM)
    table.alter_columns({"path": "vector", "data_type": half})
    assert energy.info().rows == N + 80
    energy.refresh()
    assert len(energy.info().pending) == 0
    assert len(set(before) & {row["id"] for row in hits(energy, QUERY)}) >= 8
