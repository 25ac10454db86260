"""How much a result has to do with its question: a number from 0 to 1, learned without labels.

========== ===================================================================
q, c       a question, unit length; centre of the field
g          c·q + r·⟨(MR)⁻¹q, x̃⟩, close to the cosine of the question and the stored row before
           metric and centring; see `projection.inverse`. Those two make questions of every
           subject look alike to the ranking; what a question shares with the collection as a
           whole is in g again
r          length that rows have in the metric before they become unit, the median over the
           anchors
U          what unrelated rows have: the mean similarity m̄ of two rows
T          what related rows have: mean similarity of a row and its `NEAREST` nearest others
relevance  1/(1 + exp(−(g − g½)/s)), g½ = U + `HALF`·(T − U), s such that T has `RELATED`
========== ===================================================================

½ lies near the middle between rows that have nothing to do with each other and rows that are
neighbours. Questions are shorter than rows and stand a little farther away, so that it lies
nearer to the unrelated ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import blocks, inner, unit

if TYPE_CHECKING:
    from energy_plugin.energy.projection import Projection
    from energy_plugin.energy.search.rows import RowStore

NEAREST = 3
HALF = 0.45
RELATED = 0.95
SAMPLE = 512  # rows that T is learned from
LEAST = 0.02  # of T − U; in a collection of copies everything is related
UNKNOWN = 0.6  # share of 1 − U that T − U has where a field does not know it


def related(rows: torch.Tensor, near: torch.Tensor) -> float | None:
    """T of unit rows (n, d) with their nearest others (n, k); None of fewer than four rows."""
    if len(rows) <= NEAREST or near.shape[1] == 0:
        return None
    count = min(len(rows), SAMPLE)
    places = torch.linspace(0, len(rows) - 1, count, dtype=torch.float64, device="cpu")
    some = places.long().unique().to(rows.device)
    first = near[some, :NEAREST]
    around = rows.index_select(0, first.flatten()).view(*first.shape, -1)
    return float(torch.bmm(around, rows[some][:, :, None]).mean())


def relevance(
    store: RowStore, queries: NDArray[np.float32], positions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Relevance of stored rows at positions (q, k) to queries (q, d); (q, k)."""
    out = np.empty(positions.shape, dtype=np.float32)
    device = store.projection.device
    for part in blocks(len(queries), positions.shape[1] * queries.shape[1]):
        q = torch.from_numpy(queries[part]).to(device)
        rows = store.rows_at(torch.from_numpy(positions[part]).to(device))
        out[part] = of_rows(store.projection, q, rows).cpu().numpy()
    return out


def of_rows(projection: Projection, queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Relevance of decoded rows (b, k, d) to queries (b, d); (b, k)."""
    back, length = projection.back
    low, middle, scale = scale_of(projection)
    q = _straight(queries)
    g = inner(length * (q @ back), rows) + (q @ projection.centre)[:, None]
    real = rows.abs().amax(2) > 0 if rows.shape[1] else torch.ones_like(g, dtype=torch.bool)
    return torch.sigmoid((torch.where(real, g, low) - middle) / scale)


def scale_of(projection: Projection) -> tuple[float, float, float]:
    """U, g½ and s of a field."""
    scalars = projection.field.scalars
    low = min(scalars.similarity, 1 - LEAST)
    high = scalars.related
    gap = UNKNOWN * (1 - low) if high is None else high - low
    gap = max(gap, LEAST)
    return low, low + HALF * gap, (1 - HALF) * gap / math.log(RELATED / (1 - RELATED))


def _straight(rows: torch.Tensor) -> torch.Tensor:
    """Unit rows of any length."""
    peak = rows.abs().amax(1, keepdim=True)
    return unit(rows / torch.where(peak > 0, peak, 1.0))
