"""Every row's inner product with a query, from its code alone, on CUDA.

========== ===================================================================
layout     what is stored, turned for the card: a word of 32 bits holds the codes of 32/b
           components of a row, lowest first; the words of all rows lie side by side, (words, n),
           so that neighbouring threads read neighbouring memory. d·b/8 + 12 bytes a row
score      share·p[cell] + σκ·Σ_j q_j·l_j, the product of the query with the decoded row, where
           p are the products with the anchors and share is what `Projection.decode` makes of
           the anchor
========== ===================================================================

The kernel is Triton's; in its interpreter (``TRITON_INTERPRET=1``) it runs without a card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from energy_plugin._lazy import optional
from energy_plugin.energy.codec.codes import HEADER_BYTES, levels, plane_bytes
from energy_plugin.energy.codec.sketch import GROUP, small_terms
from energy_plugin.energy.columns import EnergyColumns

if TYPE_CHECKING:
    from energy_plugin.energy.projection import Projection

ROWS = 256  # of a program of the kernel
WORD = 32
PACKED = 1 << 16  # rows turned at a time


def applies(projection: Projection, columns: EnergyColumns) -> bool:
    """Whether codes can choose candidates: on CUDA, with Triton, all codes of as many bits."""
    cuda = projection.device.type == "cuda" and find_spec("triton") is not None
    return cuda and small_terms(projection) and uniform(columns)


def uniform(columns: EnergyColumns) -> bool:
    """Whether all codes have the same number of bits."""
    bits = columns.residual[:, 0]
    return len(bits) > 0 and bool((bits == bits[0]).all())


@dataclass(frozen=True)
class Codes:
    """The codes of n rows as the kernel reads them."""

    words: torch.Tensor  # (words, n) int32
    cell: torch.Tensor  # (n,) int32, 0 for rows without direction
    factor: torch.Tensor  # (n,), σκ; 0 for rows without direction
    share: torch.Tensor  # (n,), of the anchor; likewise
    bits: int

    @classmethod
    def of(cls, projection: Projection, columns: EnergyColumns) -> Codes:
        """Turn stored columns, all of one number of bits."""
        device, dim = projection.device, projection.field.dim
        bits = int(columns.residual[0, 0])
        count, per = len(columns), WORD // bits
        width = -(-dim // per)
        words = torch.zeros(width, count, dtype=torch.int32, device=device)
        factor = torch.zeros(count, dtype=torch.float32, device=device)
        share = torch.zeros(count, dtype=torch.float32, device=device)
        cell = torch.from_numpy(np.maximum(columns.cell, 0).astype(np.int32)).to(device)
        for start in range(0, count, PACKED):
            part = slice(start, min(count, start + PACKED))
            residual = columns.residual[part]
            words[:, part] = _packed(torch.from_numpy(residual.copy()).to(device), bits, dim)
            header = residual[:, 1:HEADER_BYTES].copy().view("<f2").astype(np.float32)
            real = torch.from_numpy(columns.cell[part] >= 0).to(device)
            factor[part] = torch.from_numpy(header[:, 0] * header[:, 1]).to(device) * real
            share[part] = projection.anchor_share(columns.cell[part], residual) * real
        return cls(words, cell, factor, share, bits)

    def scores(self, points: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """Inner products of points (q, d) with the decoded rows; (q, n)."""
        triton = optional("triton")
        count = self.words.shape[1]
        out = torch.empty(len(points), count, dtype=torch.float32, device=self.words.device)
        padded = torch.zeros(
            len(points),
            self.words.shape[0] * (WORD // self.bits),
            dtype=torch.float32,
            device=self.words.device,
        )
        padded[:, : points.shape[1]] = points
        products = (points @ anchors.T).contiguous()
        table = torch.from_numpy(levels(self.bits)).to(self.words.device)
        for query in range(len(points)):
            _kernel()[(triton.cdiv(count, ROWS),)](
                padded[query],
                products[query],
                table,
                self.words,
                self.cell,
                self.factor,
                self.share,
                out[query],
                count,
                BITS=self.bits,
                WORDS=self.words.shape[0],
                ROWS=ROWS,
            )
        return out

    def plain_scores(self, points: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """As `scores`, in torch."""
        per, dim = WORD // self.bits, points.shape[1]
        places = self.bits * torch.arange(per, dtype=torch.int32, device=self.words.device)
        code = (self.words[:, None] >> places[:, None]) & ((1 << self.bits) - 1)
        table = torch.from_numpy(levels(self.bits)).to(self.words.device)
        rows = table[code.flatten(0, 1)[:dim].long()]  # (d, n)
        own = (points @ anchors.T)[:, self.cell.long()]
        return own * self.share + (points @ rows) * self.factor


def best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` largest of each line (b, n), in no order; (b, count).

    The best lie in the groups with the largest maxima, as in `sketch.best`.
    """
    size = GROUP * GROUP
    groups = scores.shape[1] // size
    if groups <= count:
        return scores.topk(count, dim=1, sorted=False).indices
    heads = scores[:, : groups * size].view(len(scores), size, groups).amax(1)
    some = heads.topk(count, dim=1, sorted=False).indices
    members = groups * torch.arange(size, dtype=torch.int64, device=scores.device)
    inside = (some[:, None, :] + members[:, None]).flatten(1)
    rest = torch.arange(
        groups * size, scores.shape[1], dtype=torch.int64, device=scores.device
    ).expand(len(scores), -1)
    inside = torch.cat([inside, rest], 1)
    places = scores.gather(1, inside).topk(count, dim=1, sorted=False).indices
    return inside.gather(1, places)


def _packed(residual: torch.Tensor, bits: int, dim: int) -> torch.Tensor:
    """Words of stored codes (b, bytes); (words, b) int32."""
    count, width = len(residual), plane_bytes(dim)
    planes = residual[:, HEADER_BYTES : HEADER_BYTES + bits * width].view(count, bits, width, 1)
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=residual.device)
    ones = ((planes >> shifts) & 1).flatten(2).to(torch.int64)  # (b, bits, 8·width)
    weights = 1 << torch.arange(bits - 1, -1, -1, dtype=torch.int64, device=residual.device)
    code = (ones * weights[:, None]).sum(1)[:, :dim]  # (b, d)
    per = WORD // bits
    code = torch.nn.functional.pad(code, (0, -dim % per)).view(count, -1, per)
    places = bits * torch.arange(per, dtype=torch.int64, device=residual.device)
    words = (code << places).sum(2)  # below 2³²
    words = torch.where(words >= 1 << (WORD - 1), words - (1 << WORD), words)
    return words.to(torch.int32).T


@cache
def _kernel() -> Any:
    triton, tl = optional("triton"), optional("triton.language")

    def scan(  # type: ignore[no-untyped-def]  # noqa: PLR0917 - a kernel takes pointers
        query,
        products,
        table,
        words,
        cell,
        factor,
        share,
        scores,
        n,
        BITS: tl.constexpr,  # type: ignore[name-defined]
        WORDS: tl.constexpr,  # type: ignore[name-defined]
        ROWS: tl.constexpr,  # type: ignore[name-defined]
    ):
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        inside = row < n
        place = words + row.to(tl.int64)
        total = tl.zeros((ROWS,), tl.float32)
        for word in range(WORDS):
            packed = tl.load(place, mask=inside, other=0)
            for part in tl.static_range(32 // BITS):
                code = (packed >> (BITS * part)) & ((1 << BITS) - 1)
                total += tl.load(query + word * (32 // BITS) + part) * tl.load(table + code)
            place += n
        own = tl.load(products + tl.load(cell + row, mask=inside, other=0))
        score = own * tl.load(share + row, mask=inside, other=0.0)
        score += total * tl.load(factor + row, mask=inside, other=0.0)
        tl.store(scores + row, score, mask=inside)

    scan.__globals__["tl"] = tl
    return triton.jit(scan)
