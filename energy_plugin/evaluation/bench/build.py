"""Build times beside arrowspace, which runs in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from energy_plugin.energy import EnergyIndex
from energy_plugin.errors import EnergyPluginError
from energy_plugin.evaluation.bench.data import Vectors

ROUNDS = 3
LIMIT_S = 900
FIRST_ROWS = 10_000  # where growth begins to be measured; doubled up to the rows there are

# Run by the other interpreter. Builds once: the reference takes seconds.
SCRIPT = """
import importlib.metadata, json, sys, time
import numpy as np
from arrowspace import ArrowSpaceBuilder
rows = np.load(sys.argv[1]).astype(np.float64)
graph = {"eps": 1.0, "k": 6, "topk": 3, "p": 2.0, "sigma": 1.0}
builder = ArrowSpaceBuilder()
start = time.perf_counter()
kind = "build_energy"
if hasattr(builder, "build_energy"):
    try:
        builder.build_energy(rows, None, graph)
    except TypeError:
        builder.build_energy(rows, graph_params=graph)
else:
    kind = "build"
    builder.build(graph, rows)
print(json.dumps({"seconds": time.perf_counter() - start, "call": kind,
                  "version": importlib.metadata.version("arrowspace")}))
"""


def measure(vectors: Vectors, arrowspace: Path | None) -> dict[str, Any]:
    """Seconds of `EnergyIndex.fit`, the best of `ROUNDS`, and of arrowspace's build.

    Parameters
    ----------
    vectors : Vectors
    arrowspace : Path, optional
        A Python interpreter that imports arrowspace.

    Raises
    ------
    EnergyPluginError
        The other interpreter fails.
    """
    own = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        EnergyIndex.fit(vectors.rows)
        own.append(time.perf_counter() - start)
    out: dict[str, Any] = {
        "rows": len(vectors.rows),
        "dim": vectors.rows.shape[1],
        "energy_s": min(own),
        "energy_all_s": own,
    }
    if len(vectors.rows) >= 2 * FIRST_ROWS:
        out["growth"] = growth(vectors)
    if arrowspace is not None:
        out["arrowspace"] = _reference(vectors, arrowspace)
        out["times_faster"] = out["arrowspace"]["seconds"] / out["energy_s"]
    return out


def growth(vectors: Vectors) -> dict[str, Any]:
    """Seconds of a fit, the better of two, at doubling rows, and p of seconds ~ rows^p."""
    sizes, seconds = [], []
    count = FIRST_ROWS
    while count <= len(vectors.rows):
        both = []
        for _ in range(2):
            start = time.perf_counter()
            EnergyIndex.fit(vectors.rows[:count])
            both.append(time.perf_counter() - start)
        seconds.append(min(both))
        sizes.append(count)
        count *= 2
    exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return {"rows": sizes, "seconds": seconds, "exponent": exponent}


def _reference(vectors: Vectors, interpreter: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, vectors.rows)
        done = subprocess.run(
            [str(interpreter), "-c", SCRIPT, str(path)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise EnergyPluginError(
            f"{interpreter} could not run arrowspace ({last}). Name the Python of an environment "
            "with: pip install arrowspace numpy"
        )
    result: dict[str, Any] = json.loads(lines[-1])
    return result
