"""In which block sizes tensors are worked on, and their rows at unit length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

BLOCK_VALUES = 1 << 23  # floats of a temporary block: 32 MiB
EPS = 1e-12

_values: ContextVar[int] = ContextVar("block_values", default=BLOCK_VALUES)


@contextmanager
def blocks_of(values: int | None) -> Iterator[None]:
    """Smaller blocks in a ``with`` statement, in this thread alone; None: those there are."""
    token = _values.set(values or _values.get())
    try:
        yield
    finally:
        _values.reset(token)


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices over `count` rows such that rows × width stays near `BLOCK_VALUES`.

    `blocks_of` changes that number. No rows give one empty slice, so that results can be joined
    without a special case.
    """
    step = max(1, min(count, _values.get() // max(1, width)))
    for start in range(0, max(1, count), step):
        yield slice(start, min(count, start + step))


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length one; a row of zeros stays zero."""  # (n, d) -> (n, d)
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(EPS)


def inner(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Inner products of rows (b, d) with rows of their own, (b, c, d); (b, c).

    A row times a matrix: the other way round the same product takes ten times as long on CPUs.
    """
    return torch.bmm(left[:, None, :], right.transpose(1, 2))[:, 0]
