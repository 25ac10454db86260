"""The benchmark on vectors small enough for a test, and its tables and plots."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.energy_data import clustered
from typer.testing import CliRunner

from energy_plugin.cli.app import app
from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.evaluation import busy
from energy_plugin.evaluation.bench import build, data, peers, tables
from energy_plugin.evaluation.bench.run import Plan

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    rows = clustered(420, 32)[0]
    np.savez(folder / "small.npz", corpus=rows[:400], queries=rows[400:])
    np.save(folder / "plain.npy", rows)
    return folder


@pytest.fixture(scope="module")
def result(folder):
    """A run of the command without the hosts, its page and its files."""
    page = folder / "page.md"
    page.write_text("# B\n<!-- bench: codes -->\nold\n<!-- end -->\nkept\n")
    out = folder / "out"
    done = CliRunner().invoke(
        app,
        [
            *("bench", str(folder / "small.npz"), "--parts", "codes,jacobians,speed,upkeep,build"),
            *("--no-peers", "--queries", "20", "--out", str(out), "--page", str(page), "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert json.loads((out / "bench.json").read_text())["codes"]
    return json.loads(done.stdout[done.stdout.index("{") :])


def test_every_codec_is_scored_at_its_bytes(result):
    codecs = {c["name"]: c for c in result["codes"][0]["codecs"]}
    assert [codecs[f"energy {b} bit"]["bytes"] for b in (1, 2, 4, 8)] == [13, 17, 25, 41]
    scores = [codecs[f"energy {b} bit"]["recall@10"] for b in (1, 2, 4, 8)]
    assert scores == sorted(scores)
    assert scores[3] > 0.95
    assert codecs["faiss SQ8"]["recall@10"] > 0.95
    assert codecs["EDEN 4 bit"]["recall@10"] > codecs["EDEN 1 bit"]["recall@10"]


def test_parts_of_a_run(result):
    speed = result["speed"][0]
    assert set(speed["rankings"]) == {"default", "graph off"}
    assert speed["rankings"]["graph off"]["batch_recall@10"] == 1
    assert speed["singles"]["energy, default"]["p50_ms"] > 0
    states = result["upkeep"][0]["states"]
    assert set(states) == {"added", "maintained", "refitted"}
    assert states["refitted"]["distortion"] == pytest.approx(1, abs=0.05)
    assert result["build"][0]["energy_s"] > 0
    assert result["machine"]["threads"] >= 1


def test_jacobians_beside_plain_codes(result):
    widths = result["jacobians"][0]["widths"]
    assert [line["bits"] for line in widths] == [1, 2, 4, 8]
    for name in ("plain", "jacobians"):
        errors = [line[name]["error"] for line in widths]
        assert errors == sorted(errors, reverse=True)
        assert errors[3] < 1e-3
        assert widths[3][name]["recall@10"] > 0.95


def test_page_and_plots(result, folder):
    page = (folder / "page.md").read_text()
    assert page.startswith("# B\n<!-- bench: codes -->\n| codec | bytes |")
    assert page.endswith("<!-- end -->\nkept\n")
    for name in ("recall_by_bytes.png", "time_by_rows.png"):
        assert (folder / "out" / name).read_bytes().startswith(b"\x89PNG")
    for name in ("machine", "rivals", "jacobians", "speed", "singles", "upkeep", "build"):
        assert tables.TABLES[name][1](result)
    with pytest.raises(InvalidInputError, match="other"):
        tables.fill("<!-- bench: other -->\n<!-- end -->", result)
    kept = "<!-- bench: judged -->\nold\n<!-- end -->"
    assert tables.fill(kept, result) == kept


def test_vectors_of_files(folder):
    read = data.read(folder / "plain.npy", 20)
    assert read.rows.shape == (400, 32)
    assert np.array_equal(read.queries, data.read(folder / "small.npz", 20).queries)
    (folder / "bad.npy").write_bytes(b"nothing")
    for name in ("none.npy", "page.txt", "bad.npy"):
        with pytest.raises(InvalidInputError, match=name):
            data.read(folder / name, 20)
    with pytest.raises(InvalidInputError, match="last 300"):
        data.read(folder / "plain.npy", 300)


def test_wrong_plans_are_refused(folder):
    for change in ({"parts": ["speeed"]}, {"vectors": []}, {"parts": ["judged"]}):
        with pytest.raises(InvalidInputError):
            Plan(**{"vectors": [folder / "small.npz"], **change})
    done = CliRunner().invoke(app, ["bench", str(folder / "small.npz"), "--rows", "many"])
    assert isinstance(done.exception, InvalidInputError)


def test_an_interpreter_without_arrowspace_is_named(folder):
    read = data.read(folder / "small.npz", 20)
    if build_has_arrowspace():
        pytest.skip("arrowspace is installed here")
    with pytest.raises(EnergyPluginError, match="pip install arrowspace"):
        build.measure(read, Path(sys.executable))


def build_has_arrowspace():
    import importlib.util

    return importlib.util.find_spec("arrowspace") is not None


def test_the_levels_of_lloyd_and_max():
    """Max (1960), table I: ±.7979; ±.4528, ±1.510."""
    np.testing.assert_allclose(peers.lloyd_levels(1), [-0.7979, 0.7979], atol=1e-4)
    np.testing.assert_allclose(peers.lloyd_levels(2), [-1.510, -0.4528, 0.4528, 1.510], atol=1e-3)


def test_busy_columns(folder):
    """Both hosts, and every search while other processes compute."""
    pytest.importorskip("chromadb")
    pytest.importorskip("lancedb")
    given = ["bench", str(folder / "small.npz"), "--parts", "speed", "--queries", "12", "--busy"]
    done = CliRunner().invoke(app, [*given, "--json"], catch_exceptions=False)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    single = found["speed"][0]["singles"]["Chroma"]
    assert 0 < single["busy_p50_ms"] <= single["busy_p95_ms"]
    hosts = found["hosts"][0]
    assert (hosts["rows"], hosts["dim"], set(hosts["hosts"])) == (400, 32, {"Chroma", "LanceDB"})
    for host in hosts["hosts"].values():
        assert host["cores"] == busy.cores()
        assert len(host["searches"]) == 3
        assert next(iter(host["searches"].values()))["busy"]["ratio"] == 1
        for times in host["searches"].values():
            for state in ("idle", "busy"):
                assert 0 < times[state]["p50_ms"] <= times[state]["p95_ms"]
    head = tables.hosts(found).splitlines()[0]
    assert head.count("|") == len(busy.COLUMNS) + 3
    assert "busy: p95 ms" in tables.singles(found)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_what_keeps_the_cores_busy_ends():
    seen = []

    def measurement():
        with busy.busy_cores(2) as spinning:
            seen.extend(spinning)
            _wait_until(lambda: all(_cpu_ticks(pid) > 2 for pid in spinning))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measurement()
    assert len(seen) == 2
    assert not any(map(_running, seen))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_what_keeps_the_cores_busy_ends_with_its_program():
    program = (
        "import time\n"
        "from energy_plugin.evaluation.busy import busy_cores\n"
        "with busy_cores(1) as spinning:\n"
        "    print(spinning[0], flush=True)\n"
        "    time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        spinning = int(process.stdout.readline())
        process.kill()
    _wait_until(lambda: not _running(spinning))


def _wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _cpu_ticks(pid):
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def _running(pid):
    """Whether a process runs; one that ended may wait for a parent to ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
