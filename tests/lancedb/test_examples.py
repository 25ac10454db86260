"""The LanceDB examples run as a user would run them. The quickstart has a test of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def lines_of(name, folder):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_hybrid(tmp_path):
    answers, name = {}, ""
    for line in lines_of("lancedb_hybrid.py", tmp_path):
        if line.startswith("  "):
            answers[name].append(line.strip())
        else:
            name = line
            answers[name] = []
    assert list(answers) == [
        "vector",
        "full text",
        "hybrid, reciprocal ranks",
        "hybrid, energy of the candidates",
        "hybrid, energy of the field",
        "two wordings, energy of the field",
    ]
    for name, texts in answers.items():
        assert len(set(texts)) == 3, name
        assert any("Heat transfer" in text or "supersonic" in text for text in texts), name


@pytest.mark.slow  # tests/lancedb/test_ray.py runs the same build
def test_ray(tmp_path):
    first, second, third = lines_of("lancedb_ray.py", tmp_path)
    assert first == "6000 rows, field fitted on 2000"
    assert second == "columns that agree: 4 of 4, residual codes: 100.0%"
    assert third.startswith("nearest to row 10: [10,")
