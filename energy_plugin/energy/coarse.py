"""Coarse scores in 8-bit integers: which rows are worth an exact distance.

========== ===================================================================
y          ⌊z/s + ½⌋, s = largest |z_j| of all rows / 127; a query likewise with its own s
⟨y_q, y_i⟩ an exact integer; times both scales it is ⟨q, z_i⟩ to about s/√6, .001 for unit
           vectors of 384 dimensions
candidates the wanted rows and half as many more, at least `MARGIN`: the error, and λ and G,
           which scores do not see, move a row by less than that
group      `GROUP` rows side by side; the C best rows lie in the C groups of largest maximum
========== ===================================================================

Integer products take a quarter of the time and memory of float32 ones on CPUs with dot-product
instructions. Used on CPUs only, and only where λ and G weigh little.
"""

from __future__ import annotations

import torch

from energy_plugin.energy.device import blocks
from energy_plugin.energy.distance import CAP
from energy_plugin.energy.projection import Projection

MARGIN = 48
GROUP = 32
SMALL_SHARE = 0.05  # of w_D, that λ and G may add to a distance at most


def applies(projection: Projection) -> bool:
    """Whether coarse scores can choose candidates for this field on this device."""
    lambda_, dispersion, dirichlet = projection.field.config.weights
    small = (lambda_ + dispersion) * CAP <= SMALL_SHARE * dirichlet
    return small and projection.device.type == "cpu"


def candidates(wanted: int) -> int:
    """How many rows get an exact distance."""
    return wanted + max(MARGIN, wanted // 2)


def integers(rows: torch.Tensor) -> torch.Tensor:
    """Rows in one common scale; (n, d) int8."""
    peak = float(rows.abs().max()) if rows.numel() else 0.0
    out = torch.empty(rows.shape, dtype=torch.int8, device=rows.device)
    for part in blocks(len(rows), rows.shape[1]):
        out[part] = (rows[part] * (127 / max(peak, 1e-20))).round_().to(torch.int8)
    return out


def query_integers(points: torch.Tensor) -> torch.Tensor:
    """Queries in a scale each; (b, d) int8."""
    peak = points.abs().amax(1, keepdim=True).clamp_min(1e-20)
    return (points * (127 / peak)).round_().to(torch.int8)


def by_dimension(rows: torch.Tensor) -> torch.Tensor:
    """Integers with dimensions first and rows padded to whole groups; (d, g·GROUP) int8."""
    n, dim = rows.shape
    out = torch.zeros(dim, -(-n // GROUP) * GROUP, dtype=torch.int8, device=rows.device)
    out[:, :n] = rows.T
    return out


def best(
    points: torch.Tensor, table: torch.Tensor, count: int, closed: torch.Tensor | None
) -> torch.Tensor:
    """Places of the `count` rows of largest coarse score, in no order; (b, count).

    Parameters
    ----------
    points : tensor of shape (b, d)
    table : tensor of shape (d, n), int8
        See `by_dimension`.
    closed : tensor of shape (n,), bool, optional
        Places that may not be found, padding included.
    """
    scores = torch._int_mm(query_integers(points), table)  # (b, n) int32
    if closed is not None:
        scores.masked_fill_(closed, torch.iinfo(torch.int32).min)
    groups = scores.view(len(points), -1, GROUP)
    some = groups.amax(2).topk(min(count, groups.shape[1]), dim=1, sorted=False).indices
    batch = torch.arange(len(points), device=points.device)[:, None]
    inside = groups[batch, some].flatten(1)  # (b, c·GROUP)
    places = inside.topk(count, dim=1, sorted=False).indices
    return some.gather(1, places // GROUP) * GROUP + places % GROUP
