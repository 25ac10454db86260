"""Stored bytes that are damaged are refused by name or answered: no crash, hang or memory taken.

The inputs are made and read in a process of its own (`support.fuzzing.parsers`), whose address
space is limited to what it has when all parsers are loaded, and 1 GiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).parents[1] / "support" / "fuzzing" / "parsers.py"
_PATH = os.pathsep.join(sys.path)


def fuzzed(inputs: int, seed: int) -> dict:
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), "--inputs", str(inputs), "--seed", str(seed)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": _PATH, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits need Linux")
@pytest.mark.parametrize(
    ("inputs", "seed"), [(2_000, 0), pytest.param(100_000, 1, marks=pytest.mark.slow)]
)
def test_every_parser_refuses_damage(inputs, seed, capsys):
    """23 parsers; 100,000 inputs take about a minute of CPU time."""
    found = fuzzed(inputs, seed)
    parsers = found["parsers"]
    assert len(parsers) == 23
    assert sum(one["inputs"] for one in parsers.values()) >= inputs
    faults = {name: one["faults"][:5] for name, one in parsers.items() if one["faults"]}
    assert not faults, json.dumps(faults, indent=1)
    for name, one in parsers.items():
        assert one["refused"] + one["answered"] == one["inputs"], name
        assert one["refused"] > 0.3 * one["inputs"], name  # the damage is damage
    lines = [
        f"{name:28} {one['inputs']:6} inputs, {one['refused']:6} refused, "
        f"{one['answered']:6} answered"
        for name, one in parsers.items()
    ]
    with capsys.disabled():
        if inputs > 10_000:
            cost = f"{found['seconds']} s of CPU time, {found['peak_bytes'] / 1e6:.0f} MB at most"
            sys.stdout.write("\n".join(["", *lines, cost, ""]))
