"""The examples of the documentation run as they stand."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from support.chroma_server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example with arguments, and returns what it prints."""

    def run(name, *arguments):
        path = EXAMPLES / name
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_quickstart_twice_on_one_folder(tmp_path, run):
    """The second run finds the rows and the field there, and answers in the same form."""
    for _ in range(2):
        printed = run("chroma_quickstart.py", tmp_path)
        lines = re.findall(r"^(\d\.\d{3})  (\S+) +(\S.*)$", printed, re.MULTILINE)
        assert len(lines) == 6
        for answer in (lines[:3], lines[3:]):
            distances = [float(distance) for distance, _, _ in answer]
            assert distances == sorted(distances)
            assert len({name for _, name, _ in answer}) == 3


def test_server_with_both_clients(tmp_path, run):
    with Server(tmp_path) as server:
        printed = run("chroma_server.py", "127.0.0.1", server.port)
    lines = re.findall(r"^(reranked|awaited)  (\d\.\d{3})  (.+)$", printed, re.MULTILINE)
    assert [way for way, _, _ in lines] == ["reranked"] * 4 + ["awaited"] * 4
    assert "gearbox" in lines[0][2]
    assert "gearbox" in lines[4][2]
    # one answer after the other, each in ascending order
    for first, second in zip(lines[::2], lines[1::2], strict=True):
        assert float(first[1]) <= float(second[1])


def test_memory_that_fades_twice_on_one_folder(tmp_path, run):
    for _ in range(2):
        printed = run("chroma_memory.py", tmp_path)
        found = re.findall(r"(\d+) of 10 memories fade, (\d+) bytes less", printed)
        would, did, again, later = [(int(rows), int(size)) for rows, size in found]
        # six are older than a month
        assert would == did == (6, did[1])
        assert did[1] > 1000
        assert again == (0, 0)
        assert later[0] > 0
        recalled = printed.split("recalled:")[1:]
        assert len(recalled) == 2
        assert all("certificate" in lines for lines in recalled)
