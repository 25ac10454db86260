"""The examples of the stacks run as a user would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "kept", "first"),
    [
        pytest.param("langchain_rerank", True, "supersonic", marks=pytest.mark.slow),
        pytest.param("llamaindex_rerank", True, "blood", marks=pytest.mark.slow),
        ("haystack_rerank", False, "kidney"),
    ],
)
def test_example(name, kept, first, tmp_path):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *([str(tmp_path)] if kept else [])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    lines = re.findall(r"^(-\d\.\d{3})  (.*)$", run.stdout, re.MULTILINE)
    assert len(lines) == 3
    assert first in lines[0][1]
    scores = [float(score) for score, _ in lines]
    assert scores == sorted(scores, reverse=True)
    assert bool(list(tmp_path.iterdir())) == kept
