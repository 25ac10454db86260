"""arrowspace over the same vectors, in its own Python, and its criterion without labels."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rankings import DEPTH, ETAS

# Run by the other interpreter; parameters are those of the published script.
SCRIPT = """
import importlib.metadata, json, sys, time
import numpy as np
from arrowspace import ArrowSpaceBuilder
data = np.load(sys.argv[1])
rows, queries = data["rows"].astype(np.float64) * 12, data["queries"].astype(np.float64) * 12
etas, steps, depth = json.loads(sys.argv[2])
graph = {"eps": 0.8, "k": 25, "topk": depth, "p": 2.0, "sigma": 0.2}
energy = {"optical_tokens": None, "trim_quantile": 0.1, "split_quantile": 0.9, "neighbor_k": 12,
          "split_tau": 0.15, "w_lambda": 1.0, "w_disp": 0.5, "w_dirichlet": 0.25,
          "candidate_m": depth}
def found(search):
    out = []
    for query in queries:
        try:
            out.append([int(row) for row, _ in search(query)][:depth])
        except Exception as error:
            print(error, file=sys.stderr)
            out.append([])
    return out
said = {"version": importlib.metadata.version("arrowspace"), "grid": [], "taus": {}}
for eta in etas:
    for count in steps:
        start = time.perf_counter()
        space, laplacian = ArrowSpaceBuilder().build_energy(
            rows, {**energy, "eta": eta, "steps": count}, graph)
        said["grid"].append({"eta": eta, "steps": count, "seconds": time.perf_counter() - start,
            "ids": found(lambda query: space.search_energy(query, laplacian, depth)),
            "lambdas": [float(value) for value in space.lambdas()]})
        print(eta, count, file=sys.stderr, flush=True)
space, laplacian = ArrowSpaceBuilder().build(graph, rows)
for tau in (1.0, 0.72, 0.42):
    said["taus"][str(tau)] = found(lambda query: space.search(query, laplacian, tau, depth))
print(json.dumps(said))
"""


def run(
    python: Path, rows: np.ndarray, queries: np.ndarray, counts: Sequence[int]
) -> dict[str, Any]:
    """Version, grid of energy searches and searches at three τ."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "vectors.npz")
        np.savez(file, rows=rows, queries=queries)
        done = subprocess.run(
            [str(python), "-c", SCRIPT, str(file), json.dumps([ETAS, counts, DEPTH])],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(
            f"{python} could not run arrowspace. Install it there: pip install arrowspace"
        )
    return json.loads(done.stdout.splitlines()[-1])


def square(lists: list[list[int]]) -> np.ndarray:
    """Rankings of different lengths as one array; -1 means no row."""
    out = np.full((len(lists), DEPTH), -1)
    for line, ids in zip(out, lists, strict=True):
        line[: len(ids)] = ids
    return out


def spectrum_cost(lambdas: np.ndarray, bins: int = 10) -> float:
    """The reference's criterion without labels: low if λ is spread evenly and no values are equal.

    Collapse of the histogram, uneven spacing (half), distance of the median from .25 (a tenth) and
    equal values (a tenth), as in its tuner; the weak repulsion of neighbouring values is left out.
    """
    values = np.sort(np.asarray(lambdas, dtype=np.float64))
    values = values[values >= 1e-9]
    if len(values) < 2 or values[-1] <= values[0]:
        return np.inf
    share = np.histogram(values, bins)[0] / len(values)
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(bins)
    gaps = np.diff(values)
    same = float((gaps <= 1e-6 * max(1.0, float(np.median(values)))).mean())
    spacing = 1 - gaps.var() / (values.var() + 1e-9)
    return float(1 - entropy + 0.5 * spacing + 0.1 * abs(np.median(values) - 0.25) + 0.1 * same)
