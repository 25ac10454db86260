"""``index --engine ray``: the rows of the plain index, on a local cluster of two workers.

The embedder needs no weights and tells what it embeds, so that nothing is counted twice. The
tests with kills have 320 texts of 20 ms: 3 seconds on two workers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support.bags import traced
from support.chroma_server import Server

from energy_plugin.errors import EnergyPluginError, InvalidInputError, OptionalDependencyError
from energy_plugin.library.indexing import Request, index_folder
from energy_plugin.library.stores.opening import open_store

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")

BAG = "support.bags:Bag"
TEXTS = 320
SECONDS = "0.02"
pytestmark = [pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Folder of what the cluster's workers embed, which are slow."""
    return tmp_path_factory.mktemp("trace")


@pytest.fixture(scope="module")
def cluster(trace):
    support = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([support, *filter(None, sys.path)]))
        patch.setenv("BAG_TRACE", str(trace))
        patch.setenv("BAG_SECONDS", SECONDS)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        patch.delenv("BAG_TRACE")
        patch.delenv("BAG_SECONDS")
        yield
        ray.shutdown()


@pytest.fixture
def embedded(trace):
    """The texts that the workers have embedded since the test began."""
    before = sum(map(len, traced(trace).values()))

    def since():
        return sum(map(len, traced(trace).values())) - before

    return since


def index(folder, into, **how):
    progress = {}
    outcome = index_folder(
        Request(folder, into, **{"embedder": BAG, **how}), progress, show_progress_bar=False
    )
    return outcome, progress


def contents(into):
    """Rows by id: text and vector."""
    found = open_store(into, "docs").content()
    rows = zip(found.texts, found.vectors, strict=True)
    return dict(zip(found.ids, rows, strict=True))


def assert_same_rows(one, other):
    assert one.keys() == other.keys()
    for name, (text, vector) in one.items():
        assert other[name][0] == text
        np.testing.assert_allclose(other[name][1], vector, atol=1e-6)


@pytest.fixture
def folder(tmp_path):
    """Many small files, one long one, and some that cannot be read."""
    made = tmp_path / "files"
    made.mkdir()
    for i in range(40):
        (made / f"note{i}.txt").write_text(f"Note {i} tells of river {i % 7}.")
    rows = [{"text": f"Row {i} of a long file.", "year": 1900 + i} for i in range(TEXTS - 40)]
    (made / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (made / "empty.txt").write_text(" \n")
    (made / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    return made


@pytest.mark.parametrize("host", ["lancedb", pytest.param("chroma", marks=pytest.mark.slow)])
def test_the_rows_are_those_of_the_plain_index(cluster, folder, tmp_path, host, embedded):
    pytest.importorskip({"chroma": "chromadb"}.get(host, host))
    plain, counts = index(folder, tmp_path / "plain", host=host)
    outcome, progress = index(folder, tmp_path / "db", host=host, engine="ray")
    assert (outcome.rows, outcome.field) == (plain.rows, plain.field) == (TEXTS, "built")
    assert progress == counts
    assert embedded() == TEXTS
    assert_same_rows(contents(tmp_path / "plain"), contents(tmp_path / "db"))
    passage = open_store(tmp_path / "db", "docs").fetch(ids=["rows.jsonl#3"])[0]
    assert passage.fields["year"] == 1903

    (folder / "note3.txt").write_text("Now about glaciers.")
    (folder / "note4.txt").unlink()
    (folder / "fresh.md").write_text("Volcanoes are new here.")
    outcome, progress = index(folder, tmp_path / "db", engine="ray")
    assert [progress[name] for name in ("added", "changed", "removed")] == [1, 1, 1]
    assert (progress["passages"], outcome.rows, outcome.field) == (2, TEXTS, "refreshed")
    assert embedded() == TEXTS + 2
    assert contents(tmp_path / "db")["note3.txt#0"][0] == "Now about glaciers."


def test_a_killed_worker_does_no_harm(cluster, folder, tmp_path, trace, embedded):
    pytest.importorskip("lancedb")
    known = set(traced(trace))
    killed = []

    def kill():
        deadline = time.monotonic() + 90
        while not killed and time.monotonic() < deadline:
            for pid in set(traced(trace)) - known:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                break
            time.sleep(0.01)

    hunter = threading.Thread(target=kill)
    hunter.start()
    outcome, progress = index(folder, tmp_path / "db", engine="ray")
    hunter.join()
    assert killed
    assert (outcome.rows, progress["passages"]) == (TEXTS, TEXTS)
    assert len(set(contents(tmp_path / "db"))) == TEXTS
    assert open_store(tmp_path / "db").findings() == []


@pytest.mark.slow  # two programs, each with a cluster of its own
def test_a_killed_program_resumes(folder, tmp_path):
    """Its own cluster dies with it; what was stored is not embedded again."""
    pytest.importorskip("lancedb")
    import lancedb

    into, trace = tmp_path / "db", tmp_path / "trace"
    trace.mkdir()
    paths = [str(Path(__file__).parents[1]), *sys.path]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "BAG_TRACE": str(trace),
        "BAG_SECONDS": "0.05",
    }
    command = [sys.executable, "-m", "energy_plugin", "index", str(folder), "--into", str(into)]
    command += ["--embedder", BAG, "--engine", "ray", "--json"]

    def stored():
        try:
            return lancedb.connect(into).open_table("docs").count_rows()
        except ValueError:  # not there yet
            return 0

    process = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not stored() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    _wait_for_quiet(trace)
    before, texts = stored(), sum(map(len, traced(trace).values()))
    assert 0 < before < TEXTS
    assert texts - before < TEXTS / 2  # what was on its way
    done = subprocess.run(
        command,
        env={**variables, "BAG_SECONDS": "0"},
        capture_output=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 2, done.stderr  # a broken PDF
    progress = json.loads(done.stdout)
    assert progress["passages"] == TEXTS - before
    assert (progress["rows"], progress["field"]) == (TEXTS, "built")
    assert sum(map(len, traced(trace).values())) == texts + TEXTS - before
    assert len(set(contents(into))) == TEXTS


def _wait_for_quiet(trace):
    """Workers end some time after their program."""
    seen, deadline = None, time.monotonic() + 60
    while time.monotonic() < deadline:
        now = {pid: len(texts) for pid, texts in traced(trace).items()}
        if now == seen and not any(Path(f"/proc/{pid}").exists() for pid in now):
            return
        seen = now
        time.sleep(1)


def test_a_server_of_chroma(cluster, folder, tmp_path, embedded):
    pytest.importorskip("chromadb")
    with Server(tmp_path / "server") as server:
        into = Path(f"http://127.0.0.1:{server.port}")
        outcome, progress = index(folder, into, engine="ray")
        assert (outcome.host, outcome.rows, outcome.field) == ("chroma", TEXTS, "built")
        assert server.client().get_collection("docs").count() == TEXTS
        outcome, progress = index(folder, into, engine="ray")
        assert (progress["unchanged"], progress["passages"]) == (41, 0)
        assert embedded() == TEXTS
        index(folder, tmp_path / "plain", host="chroma")
        assert_same_rows(contents(tmp_path / "plain"), contents(into))
        assert open_store(into, "docs").findings() == []


@pytest.mark.slow
def test_scanned_pages_are_read_by_the_workers(cluster, tmp_path):
    pytest.importorskip("lancedb")
    made = tmp_path / "files"
    made.mkdir()
    for name, text in (("one.png", "Glaciers carve deep valleys."), ("two.png", "Bread rises.")):
        page = Image.new("L", (900, 240), 255)
        ImageDraw.Draw(page).text((60, 80), text, fill=0, font=ImageFont.load_default(40))
        page.save(made / name)
    (made / "note.txt").write_text("Comets have tails.")
    Image.new("L", (64, 64), 255).save(made / "blank.png")
    index(made, tmp_path / "plain", embedder="compact")
    _, progress = index(made, tmp_path / "db", embedder="compact", engine="ray")
    assert [each["file"] for each in progress["unreadable"]] == ["blank.png"]
    found = contents(tmp_path / "db")
    assert "valleys" in found["one.png#0"][0]
    assert_same_rows(contents(tmp_path / "plain"), found)


def test_what_is_missing_is_named(cluster, folder, tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match="engine is 'spark', expected one of local, ray"):
        index(folder, tmp_path / "db", engine="spark")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionalDependencyError, match=r"\[ray\]"):
        index(folder, tmp_path / "db", engine="ray")
    assert not (tmp_path / "db").exists()


@pytest.mark.slow
def test_an_encoder_that_fails_on_a_worker_ends_the_run(cluster, folder, tmp_path):
    """Here it is found, there it is not: its folder is on the path of this process alone."""
    (tmp_path / "only_here.py").write_text("from support.bags import Bag\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(EnergyPluginError, match=r"only_here.*embedded so far are stored"):
            index(folder, tmp_path / "db", embedder="only_here:Bag", engine="ray")
    finally:
        sys.path.remove(str(tmp_path))
