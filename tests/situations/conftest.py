"""The command line with an embedder that needs no torch."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

EMBEDDER = "bag_of_words:Bag"
_SOURCE = """
import os, re, time, zlib
import numpy as np

class Bag:
    def encode(self, texts):
        out = np.zeros((len(texts), 48), dtype=np.float32)
        for row, text in zip(out, texts):
            time.sleep(float(os.environ.get("BAG_SECONDS", "0")))
            for word in re.findall(r"\\w+", text.lower()):
                code = zlib.crc32(word.encode())
                row[code % 48] += 1 if code >> 16 & 1 else -1
            row[0] += 0.01
        return out
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Variables of a process that finds the embedder."""
    place = tmp_path_factory.mktemp("embedder")
    (place / "bag_of_words.py").write_text(textwrap.dedent(_SOURCE))
    paths = [str(place), *sys.path]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TQDM")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.fixture
def folder(tmp_path):
    """Files to index."""
    return _filled(tmp_path / "files")


def _filled(made):
    made.mkdir()
    (made / "rivers.csv").write_text("name;year;wide\nRhine;1230;yes\nElbe;1094;no\nOder;840;no\n")
    (made / "note.md").write_text(
        "---\nauthor: Ann\nyear: 1990\n---\nComets have tails. Grüße 😀\n"
    )
    (made / "x.py").write_text("print(1)\n")
    return made


@pytest.fixture(scope="session")
def energy_plugin(environment):
    """Run a command as a person does; the finished process."""

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "energy_plugin", *map(str, arguments)],
            capture_output=True,
            env={**environment, **variables},
            check=False,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def indexed(energy_plugin, tmp_path_factory):
    """A folder and its index in LanceDB, to be read only."""
    pytest.importorskip("lancedb")
    place = tmp_path_factory.mktemp("indexed")
    folder, into = _filled(place / "files"), place / "db"
    assert energy_plugin("index", folder, "--into", into, "--embedder", EMBEDDER).returncode == 0
    return folder, into
