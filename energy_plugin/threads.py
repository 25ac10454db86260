"""How many threads a call computes on: few where there is little work, one after a fork.

torch's pool of threads costs a small computation more than it saves, most of all where other
processes want the cores. So a call takes a thread for every `WORK` multiply-adds, up to the
setting. OpenMP and MKL keep such numbers for each calling thread, and those are what is set here
and put back: `torch.set_num_threads` would change the whole process.

A process made by ``fork`` inherits the bookkeeping of a pool whose threads did not survive, and
would wait for them for ever. There, calls compute on the thread that makes them.
"""

from __future__ import annotations

import ctypes
import functools
import math
import operator
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from energy_plugin.errors import InvalidInputError

SETTING = "ENERGY_PLUGIN_THREADS"
WORK = 1 << 30  # multiply-adds that are worth a thread: some thirty milliseconds of a core

_LIBRARIES = {"linux": "libtorch_cpu.so", "darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}
_scope = threading.local()  # .most: threads that the outermost call may take; .now: those it takes
_process = SimpleNamespace(chosen=None, forked=False)


def set_threads(count: int | None) -> None:
    """Set the most threads that calls of this package may compute on, in this process.

    It takes precedence over the environment variable ``ENERGY_PLUGIN_THREADS`` and the number of
    torch, which does not change.

    Parameters
    ----------
    count : int or None
        At least 1. None: the number in the environment variable, or that of torch.

    Raises
    ------
    InvalidInputError
        Not a positive integer.
    """
    _process.chosen = None if count is None else _positive(count, "count")


def get_threads() -> int:
    """The most threads that a call made now may compute on.

    Raises
    ------
    InvalidInputError
        ``ENERGY_PLUGIN_THREADS`` is not a positive integer.
    """
    import torch

    if _process.forked:
        return 1
    return _setting() or int(torch.get_num_threads())


class threads_for:  # noqa: N801 - read as a statement
    """Compute on as many threads as some work is worth, in a ``with`` statement.

    An inner statement chooses again, within what the outermost may take.

    Parameters
    ----------
    work : float
        Multiply-adds, roughly.
    """

    __slots__ = ("before", "old", "outermost", "work")

    def __init__(self, work: float = math.inf) -> None:
        self.work = work

    def __enter__(self) -> None:
        self.outermost = getattr(_scope, "most", None) is None
        if self.outermost:
            import torch

            now = int(torch.get_num_threads())  # also makes torch set up a new thread
            _scope.most = 1 if _process.forked else _setting() or now
            _scope.now = now
        self.before = _scope.now
        wanted = int(min(_scope.most, 1 + self.work / WORK))
        if wanted != self.before:
            self.old = _limit(wanted)
            _scope.now = wanted

    def __exit__(self, *error: object) -> None:
        if _scope.now != self.before:
            _limit(self.before, self.old)
            _scope.now = self.before
        if self.outermost:
            _scope.most = None


def _setting() -> int | None:
    """The number that somebody chose for this package, if any."""
    if _process.chosen is not None:
        return int(_process.chosen)
    text = os.environ.get(SETTING, "").strip()
    return _positive(text, SETTING) if text else None


def _positive(value: Any, name: str) -> int:
    try:
        count = int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1 or isinstance(value, bool):
        raise InvalidInputError(
            f"{name} must be a positive number of threads, got {value!r}. "
            "Leave it out to use as many as torch."
        )
    return count


def _limit(count: int, local: int | None = None) -> int:
    """Set this thread's numbers of OpenMP and of MKL, `local` if it is another; MKL's old one.

    MKL has a number of its own only where somebody gave it one, and follows OpenMP else (0).
    """
    openmp, mkl = _setters()
    if openmp is not None:
        openmp(count)
    return 0 if mkl is None else int(mkl(count if local is None else local))


@functools.cache
def _setters() -> tuple[Any, Any]:
    """`omp_set_num_threads` and `mkl_set_num_threads_local` of torch's own libraries."""
    import torch

    library = Path(torch.__file__).parent / "lib" / _LIBRARIES.get(sys.platform, "")
    try:
        loaded = ctypes.PyDLL(str(library))  # its calls are too short to hand over the interpreter
    except OSError:
        return None, None
    openmp = getattr(loaded, "omp_set_num_threads", None)
    mkl = getattr(loaded, "MKL_Set_Num_Threads_Local", None)
    if openmp is not None:
        openmp.argtypes, openmp.restype = [ctypes.c_int], None
    if mkl is not None:
        mkl.argtypes, mkl.restype = [ctypes.c_int], ctypes.c_int
    return openmp, mkl


def _after_fork() -> None:
    _process.forked = True
    _scope.most = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
