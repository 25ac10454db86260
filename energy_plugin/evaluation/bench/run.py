"""One run: the chosen parts, and the machine that they ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.bench import build, codes, jacobians, judged, speed, upkeep
from energy_plugin.evaluation.bench.data import Vectors, read

PARTS = ("codes", "judged", "jacobians", "speed", "upkeep", "build")
PACKAGES = ("torch", "numpy", "faiss-cpu", "lancedb", "chromadb")
SMALL = (10_000, 128, 256)  # rows, dimensions and anchors of the small setting


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    vectors: Sequence[Path]
    parts: Sequence[str] = PARTS
    queries: int = 500
    rows: Sequence[int] = ()  # of the search times, beside all rows
    judged: Path | None = None
    arrowspace: Path | None = None
    peers: bool = True
    busy: bool = False  # single queries also while every core has other work
    hosts: Callable[[Vectors], dict[str, Any]] | None = None  # the part "hosts", where it is busy

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown:
            raise InvalidInputError(f"Unknown parts {unknown}; expected some of {list(PARTS)}.")
        if not self.vectors:
            raise InvalidInputError("Name at least one file of vectors.")
        if "judged" in self.parts and self.judged is None and tuple(self.parts) != PARTS:
            raise InvalidInputError("The part 'judged' needs --judged, a folder of collections.")


def run(plan: Plan, note: Callable[[str], None] = lambda step: None) -> dict[str, Any]:
    """Measure the plan's parts.

    The largest file of vectors serves the search times, upkeep and the growth of the build, the
    first one the build beside arrowspace.
    """
    files = [read(path, plan.queries) for path in plan.vectors]
    largest = max(files, key=lambda vectors: len(vectors.rows))
    before = _load()
    out: dict[str, Any] = {}
    if "build" in plan.parts:
        note("build")
        out["build"] = [build.measure(files[0], plan.arrowspace)]
        if largest is not files[0]:
            out["build"].append(build.measure(largest, None))
    if "codes" in plan.parts:
        out["codes"] = []
        for vectors in files:
            note(f"codes, {vectors.name}")
            out["codes"].append(codes.measure(vectors, lancedb=plan.peers, note=note))
    if "jacobians" in plan.parts:
        note("jacobians")
        out["jacobians"] = [jacobians.measure(vectors.first(50_000)) for vectors in files]
    if "judged" in plan.parts and plan.judged is not None:
        note("judged")
        out["judged"] = judged.measure(plan.judged, plan.vectors[0].parent)
    if "speed" in plan.parts:
        out["speed"] = []
        for rows in sorted({*(r for r in plan.rows if r < len(largest.rows)), len(largest.rows)}):
            note(f"speed, {rows} rows")
            some = largest.first(rows)
            out["speed"].append(speed.measure(some, peers=plan.peers, busy=plan.busy))
            if plan.busy and plan.hosts is not None:
                note(f"hosts, {rows} rows")
                out.setdefault("hosts", []).append({"rows": rows, **plan.hosts(some)})
        small = _small(largest)
        if small is not None:
            note("speed, small setting")
            config = EnergyConfig(n_anchors=SMALL[2])
            out["speed"].append(speed.measure(small, peers=False, busy=plan.busy, config=config))
    if "upkeep" in plan.parts:
        note("upkeep")
        out["upkeep"] = upkeep.measure(largest.first(20_000))
    return {"machine": _machine(before), **out}


def _small(vectors: Any) -> Any:
    """The first 10,000 rows, cut to 128 dimensions; None if there are fewer."""
    from energy_plugin.evaluation.vectors import normalise

    rows, dim, _ = SMALL
    if vectors.rows.shape[0] < rows or vectors.rows.shape[1] < dim:
        return None
    return Vectors(
        vectors.name, normalise(vectors.rows[:rows, :dim]), normalise(vectors.queries[:, :dim])
    )


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _machine(before: float) -> dict[str, Any]:
    import torch

    versions = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    memory = 0.0
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "memory_gib": memory,
        "peak_gib": _peak(),
        "python": platform.python_version(),
        "load": [before, _load()],
        "versions": versions,
    }


def _peak() -> float:
    """The most memory that the process has had, in GiB; NaN where the system does not tell."""
    with suppress(ImportError):
        import resource

        unit = 2**30 if platform.system() == "Darwin" else 2**20  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return float("nan")


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
