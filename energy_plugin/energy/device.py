"""In which block sizes tensors are worked on, and their rows at unit length."""

from __future__ import annotations

from collections.abc import Iterator

import torch

BLOCK_VALUES = 1 << 23  # floats of a temporary block: 32 MiB
EPS = 1e-12


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices over `count` rows such that rows × width stays near `BLOCK_VALUES`.

    No rows give one empty slice, so that results can be joined without a special case.
    """
    step = max(1, min(count, BLOCK_VALUES // max(1, width)))
    for start in range(0, max(1, count), step):
        yield slice(start, min(count, start + step))


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length one; a row of zeros stays zero."""  # (n, d) -> (n, d)
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(EPS)
