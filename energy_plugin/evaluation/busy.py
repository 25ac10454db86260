"""Times of searches while every core of the machine has other work, beside those without it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np

# Half of the work holds the interpreter, half is numpy's. It ends when its input does, which the
# system closes when the process that started it dies, however it dies.
_SPIN = """
import os, sys, threading
import numpy as np

def end():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=end, daemon=True).start()
matrix = np.random.default_rng(0).normal(size=(200, 200))
print("spinning", flush=True)
while True:
    matrix = np.tanh(matrix @ matrix.T / 200)
    sum(i * i for i in range(10_000))
"""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
COLUMNS = (
    *("search", "p50 ms", "p95 ms", "times plain"),
    *("busy: p50 ms", "p95 ms", "times plain"),
)

Search = Callable[[Any], Any]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def busy_cores(count: int | None = None) -> Iterator[list[int]]:
    """Within it, as many processes compute without end as there are cores, or `count`.

    They run when the block begins and have ended when it is left; their ids are given.
    """
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    with ExitStack() as stack:
        started = []
        for _ in range(cores() if count is None else count):
            process = subprocess.Popen(
                [sys.executable, "-c", _SPIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            stack.callback(_end, process)
            started.append(process)
        for process in started:
            if process.stdout is not None and not process.stdout.readline():
                raise RuntimeError("A process that was to keep a core busy ended at once.")
        yield [process.pid for process in started]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def in_turn(searches: Mapping[str, Search], queries: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Milliseconds of one query, p50 and p95, of searches that take turns in this process."""
    for search in searches.values():
        search(queries[0])
    wall: dict[str, list[float]] = {name: [] for name in searches}
    for query in queries:
        for name, search in searches.items():
            start = time.perf_counter()
            search(query)
            wall[name].append(1000 * (time.perf_counter() - start))
    return {
        name: {
            "p50_ms": float(np.median(times)),
            "p95_ms": float(np.percentile(times, 95)),
        }
        for name, times in wall.items()
    }


def idle_and_busy(searches: Mapping[str, Search], queries: Sequence[Any]) -> dict[str, Any]:
    """Times of searches without and with other work on every core.

    Parameters
    ----------
    searches : mapping of str to callable
        The first one is the plain search, which the ratios compare with.
    queries : sequence

    Returns
    -------
    dict
        ``cores``, and by search ``idle`` and ``busy``, each with ``p50_ms``, ``p95_ms`` and
        ``ratio``, of the medians.
    """
    idle = in_turn(searches, queries)
    with busy_cores() as spinning:
        busy = in_turn(searches, queries)
    plain = next(iter(searches))
    found: dict[str, Any] = {}
    for name in searches:
        found[name] = {
            state: {**times[name], "ratio": times[name]["p50_ms"] / times[plain]["p50_ms"]}
            for state, times in (("idle", idle), ("busy", busy))
        }
    return {"cores": len(spinning), "searches": found}


def lines(found: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a table with `COLUMNS`, of what `idle_and_busy` gives."""
    rows = []
    for name, times in found["searches"].items():
        cells = [name]
        for state in ("idle", "busy"):
            cells += [f"{times[state][key]:.2f}" for key in ("p50_ms", "p95_ms", "ratio")]
        rows.append(cells)
    return rows
