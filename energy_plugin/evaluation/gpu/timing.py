"""Seconds on a device, whose work is done when the clock stops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def seconds(run: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Median of several runs after one that counts for nothing."""
    run()
    found = []
    for _ in range(rounds):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def clustered(
    rows: int, dim: int, device: torch.device, seed: int = 0, topics: int = 0
) -> torch.Tensor:
    """Unit rows around topics, as those of an embedder are: (rows, dim) on the device."""
    generator = torch.Generator(device).manual_seed(seed)
    count = topics or max(2, rows // 200)
    centres = torch.randn(count, dim, generator=generator, device=device)
    near = torch.randint(count, (rows,), generator=generator, device=device)
    made = torch.randn(rows, dim, generator=generator, device=device)
    made.mul_(0.8).add_(centres[near]).add_(0.5 * centres[0])
    return made / made.norm(dim=1, keepdim=True)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
