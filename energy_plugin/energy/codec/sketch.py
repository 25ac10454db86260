"""Sketches: which rows are worth an exact distance.

========== ===================================================================
V          (d, m), an orthonormal basis of directions in which a sample of the rows varies
           most, by orthogonal iteration; m = 5/12·d if they hold `HELD` of its squared length,
           else m = d and V = I
y          ⌊127·Vᵀz/s + ½⌋ of a row, cut to ±127; s from the sample, the same for all rows; a
           query likewise with its own s
⟨y_q, y_i⟩ an exact integer, in proportion to ⟨Vᵀq, Vᵀz_i⟩
candidates two for each wanted row, at least `LEAST`. Measured with 100,000 sentences of 384
           dimensions: 99 of the true 100 in 10 answers
exact      while a collection is small, sketches of one query have all components and a scale
           that cuts none, so that their error is known; see `search.single`
group      the rows j, j + g, j + 2g, …; the C best rows lie in the C of g groups with the
           largest maximum
========== ===================================================================

A sketch takes m bytes of memory a row, and none in the host. Scoring one costs about a tenth of
scoring a float32 row. Used on CPUs only, and only where λ and G weigh little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.distance import CAP
from energy_plugin.energy.projection import Projection

LEAST = 120
PER_WANTED = 2
GROUP = 8  # rows of a group
ROUNDS = 3
SAMPLE = 4096  # rows
SMALL_DIM = 128  # dimensions up to which all are used
HELD = 0.75
SMALL_SHARE = 0.05  # of w_D, that λ and G may add to a distance at most
CLOSED = torch.iinfo(torch.int32).min


def applies(projection: Projection) -> bool:
    """Whether sketches can choose candidates for this field on this device."""
    return small_terms(projection) and projection.device.type == "cpu"


def small_terms(projection: Projection) -> bool:
    """Whether λ and G weigh so little that similarities alone can choose candidates."""
    lambda_, dispersion, dirichlet = projection.field.config.weights
    return (lambda_ + dispersion) * CAP <= SMALL_SHARE * dirichlet


def candidates(wanted: int) -> int:
    """How many rows get an exact distance."""
    return max(LEAST, PER_WANTED * wanted)


@dataclass(frozen=True)
class Sketcher:
    """What turns rows and queries of one field into sketches."""

    basis: torch.Tensor  # V, (d, m)
    scale: float  # 127/s of rows
    exact: bool = False  # all components and no row beyond the scale: the error is known

    @classmethod
    def of(cls, rows: torch.Tensor) -> Sketcher:
        """The sketches that suit a sample of decoded rows (n, d)."""
        dim = rows.shape[1]
        width = 32 * -(-5 * dim // (12 * 32))
        basis = torch.eye(dim, dtype=torch.float32, device="cpu")
        if dim > SMALL_DIM:
            start = torch.randn(
                dim,
                width,
                generator=torch.Generator("cpu").manual_seed(0),
                dtype=torch.float32,
                device="cpu",
            )
            some = torch.linalg.qr(start).Q
            for _ in range(ROUNDS):
                some = torch.linalg.qr(rows.T @ (rows @ some)).Q
            if (rows @ some).square().sum() >= HELD * rows.square().sum():
                basis = some.contiguous()
        return cls(basis, 127 / max(_peak(rows @ basis), 1e-20))

    @classmethod
    def whole(cls, rows: torch.Tensor) -> Sketcher:
        """All components of decoded rows (n, d), none cut."""
        basis = torch.eye(rows.shape[1], dtype=torch.float32, device="cpu")
        return cls(basis, 127 / max(_peak(rows), 1e-20), exact=True)

    def holds(self, rows: torch.Tensor) -> bool:
        """Whether no component of decoded rows (n, d) is beyond the scale."""
        return _peak(rows) * self.scale <= 127.5

    @property
    def width(self) -> int:
        """Directions, m."""
        return self.basis.shape[1]

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Sketches of decoded rows (n, d); (n, m) int8."""
        flat = rows.clone() if self.exact else rows @ self.basis
        return flat.mul_(self.scale).round_().clamp_(-127, 127).to(torch.int8)

    def queries(self, points: torch.Tensor) -> torch.Tensor:
        """Sketches of queries (b, d), in a scale each; (b, m) int8."""
        flat = points @ self.basis
        peak = flat.abs().amax(1, keepdim=True).clamp_min(1e-20)
        return flat.mul_(127 / peak).round_().to(torch.int8)

    def query(self, point: NDArray[np.float32]) -> tuple[torch.Tensor, float]:
        """Sketch of one query (d,), as `queries` makes it, (1, m) int8; and its step s/127."""
        flat = point if self.exact else torch.mv(self.basis.T, torch.from_numpy(point)).numpy()
        step = max(float(np.abs(flat).max()), 1e-20) / 127
        return torch.from_numpy(np.rint(flat / np.float32(step)).astype(np.int8)).view(1, -1), step


def _peak(rows: torch.Tensor) -> float:
    return max(float(rows.max()), -float(rows.min())) if rows.numel() else 0.0


def best_of_one(
    query: torch.Tensor, rows: torch.Tensor, count: int, closed: torch.Tensor | None
) -> tuple[NDArray[np.int64], int]:
    """`best` for one query (1, m): the places (count,), and the smallest score among them."""
    table = torch._int_mm(query, rows.T)
    if closed is not None:
        table.masked_fill_(closed, CLOSED)
    scores = table.numpy()[0]
    groups = scores.reshape(GROUP, -1).max(0)
    n_groups = len(groups)
    some = np.arange(n_groups)
    if count < n_groups:
        some = groups.argpartition(n_groups - count)[n_groups - count :]
    inside = (some + n_groups * np.arange(GROUP)[:, None]).ravel()
    best = scores[inside]
    chosen = best.argpartition(len(best) - count)[len(best) - count :]
    return inside[chosen], int(best[chosen[0]])


def best(
    queries: torch.Tensor, rows: torch.Tensor, count: int, closed: torch.Tensor | None
) -> torch.Tensor:
    """Places of the `count` rows of largest score, in no order; (b, count).

    Parameters
    ----------
    queries : tensor of shape (b, m), int8
    rows : tensor of shape (g·GROUP, m), int8
    count : int
        At most the number of open rows.
    closed : tensor of shape (g·GROUP,), bool, optional
        Places that may not be found, padding included.
    """
    scores = torch._int_mm(queries, rows.T)  # (b, g·GROUP) int32
    if closed is not None:
        scores.masked_fill_(closed, CLOSED)
    groups = scores.view(len(queries), GROUP, -1).amax(1)  # (b, g)
    n_groups = groups.shape[1]
    some = groups.topk(min(count, n_groups), dim=1, sorted=False).indices
    members = n_groups * torch.arange(GROUP, dtype=torch.int64, device="cpu")
    inside = (some[:, None, :] + members[:, None]).flatten(1)  # (b, GROUP·c)
    places = scores.gather(1, inside).topk(count, dim=1, sorted=False).indices
    return inside.gather(1, places)
