"""The example of the documentation runs as it stands."""

import re
import runpy
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "chroma_quickstart.py"


def test_it_runs_twice_on_one_folder(tmp_path, monkeypatch, capsys):
    """The second run finds the rows and the field there, and answers in the same form."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path)])
    for _ in range(2):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        printed = capsys.readouterr().out
        lines = re.findall(r"^(\d\.\d{3})  (\S+) +(\S.*)$", printed, re.MULTILINE)
        assert len(lines) == 6
        for answer in (lines[:3], lines[3:]):
            distances = [float(distance) for distance, _, _ in answer]
            assert distances == sorted(distances)
            assert len({name for _, name, _ in answer}) == 3
