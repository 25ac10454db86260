"""The run on a card, at toy size on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.gpu import run as gpu
from energy_plugin.evaluation.gpu.sizes import TOY, Sizes
from energy_plugin.evaluation.gpu.tables import table

ROOT = Path(__file__).resolve().parents[2]


def test_every_part_of_the_energy_index(tmp_path):
    parts = ["equality", "ranking", "fit"]
    found = gpu.run(tmp_path, device="cpu", parts=parts)
    same, ranked, fitted = (found["parts"][name] for name in parts)
    assert same["same ids, one field"] == 1.0
    assert same["shared ids, two fits"] == 1.0
    assert same["shared ids, candidates by codes"] > 0.9
    assert ranked["rows"] == TOY.scanned
    assert ranked["rank_s"] > 0
    assert fitted["queries_per_second"] > 0
    shown = table(found)
    assert "4-bit ranking, in times of copying its bytes" in shown
    assert "CPU, toy size" in shown


def test_the_encoders(tmp_path, monkeypatch):
    from energy_plugin.evaluation.gpu import encoder_parts

    monkeypatch.setattr(encoder_parts, "documents", lambda: ["heat flows into colder rows " * 40])
    parts = ["encoder equality", "training", "full"]
    found = gpu.run(tmp_path, device="cpu", parts=parts)["parts"]
    assert not [one["error"] for one in found.values() if "error" in one]
    assert found["encoder equality"]["least cosine, float32"] > 0.9999
    assert found["encoder equality"]["least cosine, bfloat16"] > 0.999
    assert found["training"]["pages_per_second"] > 0
    assert found["full"]["operations_per_page"] > 1e6
    assert 0 < found["full"]["share of the matrix rate"] < 100


def test_a_run_goes_on_where_it_was_cut_short(tmp_path, monkeypatch):
    begun = []

    def part(name):
        return lambda sizes, device: begun.append(name) or {"value": 1.5}

    def failing(sizes, device):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu, "PARTS", {"a": part("a"), "b": failing, "c": part("c")})
    first = gpu.run(tmp_path, device="cpu", parts=["a", "b", "c"], limit=1e9)
    assert begun == ["a", "c"]
    assert "out of memory" in first["parts"]["b"]["error"]
    assert "| b | could not run | RuntimeError: out of memory |" in table(first)
    monkeypatch.setattr(gpu, "PARTS", {name: part(name) for name in "abc"})
    second = gpu.run(tmp_path, device="cpu", parts=["a", "b", "c"])
    assert begun == ["a", "c", "b"]  # what failed is tried again
    assert second["parts"]["a"]["value"] == 1.5
    assert gpu.run(tmp_path / "other", device="cpu", parts=["a"], limit=0)["parts"] == {}
    (tmp_path / "a.json").write_text("{")
    gpu.run(tmp_path, device="cpu", parts=["a"])
    assert begun[-1] == "a"
    monkeypatch.setattr(gpu, "TOY", Sizes(equal=7))
    gpu.run(tmp_path, device="cpu", parts=["c"])  # of other sizes
    assert begun[-1] == "c"
    with pytest.raises(InvalidInputError, match="Unknown parts"):
        gpu.run(tmp_path, parts=["d"])


def test_the_script_ranks_by_the_interpreted_kernel(tmp_path):
    pytest.importorskip("triton")
    command = [sys.executable, str(ROOT / ".ci" / "gpu.py"), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--parts", "ranking", "--out", str(tmp_path)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]["ranking"]
    assert found["kernel"] is True
    assert found["gap to torch"] < 1e-4
    assert (tmp_path / "gpu.md").read_text() == done.stdout
    assert torch.version.__version__.split("+")[0] in done.stdout
