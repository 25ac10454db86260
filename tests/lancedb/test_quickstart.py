"""The LanceDB quickstart runs as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import lancedb

EXAMPLE = Path(__file__).parents[2] / "examples" / "lancedb_quickstart.py"


def test_quickstart(tmp_path):
    run = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    questions = [line for line in run.stdout.splitlines() if not line.startswith(" ")]
    assert questions == ["supersonic flow of a gas", "cells in the blood", "a wing that vibrates"]
    answers = [line.split(maxsplit=2) for line in run.stdout.splitlines() if "  20" in line]
    assert "supersonic" in answers[0][2]
    assert any("blood" in answer[2] for answer in answers[3:])
    for three in (answers[:3], answers[3:]):
        distances = [float(answer[0]) for answer in three]
        assert distances == sorted(distances)
        assert all(int(answer[1]) > 2015 for answer in three)
    table = lancedb.connect(tmp_path).open_table("notes")
    assert table.count_rows() == 11
    assert set(table.schema.names) == {"year", "text", "vector"}  # nothing was added to it
