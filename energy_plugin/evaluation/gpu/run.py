"""A run over all parts, resumable part by part."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.evaluation.encoder_speed import machine
from energy_plugin.evaluation.gpu import encoder_parts, energy_parts
from energy_plugin.evaluation.gpu.sizes import TOY, Sizes

LIMIT = 480.0  # seconds of a run
TESTS_LIMIT = 240.0  # of them, for the tests


def tests(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """What ``pytest -m gpu`` says, run from the root of the checkout."""
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(root), str(root / "adapters"), os.environ.get("PYTHONPATH", "")])
    only = [] if sizes is not TOY else ["--collect-only"]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:xdist", *only]
    done = subprocess.run(
        [*command, "-o", "addopts=--import-mode=importlib", "tests/energy", "tests/reliability"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=TESTS_LIMIT,
        check=False,
    )
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""])[-1]
    return {"exit": done.returncode, "says": re.sub(r"\x1b\[[0-9;]*m", "", last).strip("= ")}


Part = Callable[[Sizes, torch.device], dict[str, Any]]

PARTS: dict[str, Part] = {
    "equality": energy_parts.equality,
    "encoder equality": encoder_parts.equality,
    "ranking": energy_parts.ranking,
    "fit": energy_parts.fit,
    "compact": encoder_parts.compact,
    "training": encoder_parts.training,
    "full": encoder_parts.full,
    "tests": tests,
}


def run(
    out: Path,
    *,
    device: str | None = None,
    parts: Sequence[str] = tuple(PARTS),
    limit: float = LIMIT,
    note: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure what has not been measured yet, and return all that has.

    Parameters
    ----------
    out : Path
        Folder of one JSON file a part; those of the same device and sizes are kept.
    device : str, optional
        CUDA if there is a card, else the CPU at toy size.
    parts : sequence of str
    limit : float
        Seconds after which no further part begins.
    note : callable
        Told what begins.

    Raises
    ------
    InvalidInputError
        An unknown part, or a folder that cannot be written.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise InvalidInputError(f"Unknown parts {unknown}; expected some of {list(PARTS)}.")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    sizes = Sizes() if place.type == "cuda" else TOY
    about = {"device": _name(place), "sizes": asdict(sizes), "torch": torch.__version__}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot write into {out}: {error}") from error
    began, found = time.monotonic(), {}
    for name in parts:
        file = out / f"{name.replace(' ', '-')}.json"
        kept = _kept(file, about)
        if kept is None and time.monotonic() - began < limit:
            note(name)
            kept = _measured(PARTS[name], sizes, place)
            _write(file, {"about": about, "found": kept})
        if kept is not None:
            found[name] = kept
    return {"about": about, "machine": machine(), "parts": found}


def _measured(part: Part, sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """What a part finds, and how long it took; its error where it cannot run here."""
    start = time.perf_counter()
    try:
        found = part(sizes, device)
    except (EnergyPluginError, ImportError, RuntimeError, subprocess.TimeoutExpired) as error:
        found = {"error": f"{type(error).__name__}: {error}"[:2000]}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return {**found, "took_s": time.perf_counter() - start}


def _kept(file: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run on the same device found, unless it failed."""
    try:
        written = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(written, dict) or written.get("about") != json.loads(json.dumps(about)):
        return None
    found = written.get("found")
    return found if isinstance(found, dict) and "error" not in found else None


def _write(file: Path, value: dict[str, Any]) -> None:
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
    beside.replace(file)


def _name(device: torch.device) -> str:
    if device.type != "cuda":
        return "CPU, toy size"
    card = torch.cuda.get_device_properties(device)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
