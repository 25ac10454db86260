"""Codes → inner products → partial top-k in one pass over the stored bytes.

========== ===================================================================
q, p       a query (d,) and its products with the anchors (m,)
code       a row as stored, see `codes`: header, then bit planes
score      p[cell] + σκ·Σ_j q_j·l_j, the inner product of the query with the decoded row
block      `BLOCK` rows side by side; only the block's `KEPT` best leave the kernel
========== ===================================================================

No decoded row is ever written. `fused` runs as a Triton kernel on CUDA, or in Triton's
interpreter (``TRITON_INTERPRET=1``) where there is none; `plain` says the same in torch and
runs anywhere. A block that holds more than `KEPT` of the wanted rows loses the rest, so that
k must not exceed `KEPT`.

The kernel has been run in the interpreter only: its speed on a GPU is not measured.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from energy_plugin._lazy import optional
from energy_plugin.energy.codec.codes import HEADER_BYTES, decode, levels, plane_bytes
from energy_plugin.errors import InvalidInputError

BLOCK = 128
KEPT = 16


def plain(
    query: torch.Tensor, anchors: torch.Tensor, cell: torch.Tensor, code: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k rows of largest inner product, in torch.

    Parameters
    ----------
    query : tensor of shape (d,), float32
    anchors : tensor of shape (m, d), float32
    cell : tensor of shape (n,), int32
        Not negative.
    code : tensor of shape (n, code_bytes), uint8
        All of one number of bits.
    k : int
        At most `KEPT`.

    Returns
    -------
    scores : tensor of shape (min(k, n),), float32
        Descending.
    rows : tensor of shape (min(k, n),), int64
    """
    _check(query, code, k)
    residual = torch.from_numpy(decode(code.cpu().numpy(), len(query))).to(query.device)
    scores = (anchors @ query)[cell.long()] + residual @ query
    best = scores.topk(min(k, len(scores)))
    return best.values, best.indices


def fused(
    query: torch.Tensor, anchors: torch.Tensor, cell: torch.Tensor, code: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `plain`, by the Triton kernel.

    Raises
    ------
    OptionalDependencyError
        Triton is not installed.
    InvalidInputError
        k is above `KEPT`, or the codes have several numbers of bits.
    """
    bits = _check(query, code, k)
    triton = optional("triton")
    n, dim = len(code), len(query)
    if n == 0:
        return torch.empty(0, dtype=torch.float32, device=query.device), torch.empty(
            0, dtype=torch.int64, device=query.device
        )
    blocks = triton.cdiv(n, BLOCK)
    scores = torch.empty(blocks, KEPT, dtype=torch.float32, device=query.device)
    rows = torch.empty(blocks, KEPT, dtype=torch.int32, device=query.device)
    width = plane_bytes(dim)
    padded = torch.zeros(8 * width, dtype=torch.float32, device=query.device)
    padded[:dim] = query
    header = code[:, 1:HEADER_BYTES].contiguous().cpu().numpy().view("<f2").astype(np.float32)
    factor = torch.from_numpy(header[:, 0] * header[:, 1]).to(query.device)
    _kernel()[(blocks,)](
        padded,
        (anchors @ query).contiguous(),
        torch.from_numpy(levels(bits)).to(query.device),
        cell.to(torch.int32).contiguous(),
        factor,
        code.contiguous(),
        scores,
        rows,
        n,
        code.shape[1],
        BITS=bits,
        WIDTH=width,
        HEADER=HEADER_BYTES,
        BLOCK_ROWS=BLOCK,
        BEST=KEPT,
    )
    best = scores.flatten().topk(min(k, n))
    return best.values, rows.flatten()[best.indices].long()


def _check(query: torch.Tensor, code: torch.Tensor, k: int) -> int:
    """The number of bits of all codes."""
    if not 1 <= k <= KEPT:
        raise InvalidInputError(f"k must lie between 1 and {KEPT}, got {k}.")
    bits = torch.unique(code[:, 0]).tolist() if len(code) else [1]
    if len(bits) != 1 or code.shape[1] < HEADER_BYTES + bits[0] * plane_bytes(len(query)):
        raise InvalidInputError(
            f"Codes of {code.shape[1]} bytes with {bits} bits do not belong to one scan of "
            f"{len(query)} dimensions. Scan rows of each number of bits by themselves."
        )
    return int(bits[0])


@cache
def _kernel() -> Any:
    triton, tl = optional("triton"), optional("triton.language")

    def scan(  # type: ignore[no-untyped-def]  # noqa: PLR0917 - a kernel takes pointers
        query,
        products,
        table,
        cell,
        factor,
        code,
        scores,
        rows,
        n,
        stride,
        BITS: tl.constexpr,  # type: ignore[name-defined]
        WIDTH: tl.constexpr,  # type: ignore[name-defined]
        HEADER: tl.constexpr,  # type: ignore[name-defined]
        BLOCK_ROWS: tl.constexpr,  # type: ignore[name-defined]
        BEST: tl.constexpr,  # type: ignore[name-defined]
    ):
        block = tl.program_id(0)
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        inside = row < n
        start = code + row.to(tl.int64) * stride + HEADER
        total = tl.zeros((BLOCK_ROWS,), tl.float32)
        for byte in range(WIDTH):
            for bit in tl.static_range(8):
                value = tl.zeros((BLOCK_ROWS,), tl.int32)
                for plane in tl.static_range(BITS):
                    packed = tl.load(start + plane * WIDTH + byte, mask=inside, other=0)
                    value = value * 2 + ((packed.to(tl.int32) >> (7 - bit)) & 1)
                total += tl.load(query + byte * 8 + bit) * tl.load(table + value)
        own = tl.load(products + tl.load(cell + row, mask=inside, other=0), mask=inside, other=0.0)
        score = own + total * tl.load(factor + row, mask=inside, other=0.0)
        score = tl.where(inside, score, float("-inf"))
        for place in tl.static_range(BEST):
            highest = tl.max(score, axis=0)
            first = tl.argmax(score, axis=0)
            tl.store(scores + block * BEST + place, highest)
            tl.store(rows + block * BEST + place, block * BLOCK_ROWS + first)
            taken = tl.arange(0, BLOCK_ROWS) == first
            score = tl.where(taken, float("-inf"), score)

    scan.__globals__["tl"] = tl
    return triton.jit(scan)
