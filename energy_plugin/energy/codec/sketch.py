"""Sketches: which rows are worth an exact distance.

========== ===================================================================
V          (d, m), an orthonormal basis of directions in which a sample of the rows varies,
           most first, by orthogonal iteration; m = 5/12·d if they hold `HELD` of its squared
           length, else m = d
y          ⌊127·Vᵀz/s + ½⌋ of a row, cut to ±127; s from the sample, the same for all rows; a
           query likewise with its own s
⟨y_q, y_i⟩ an exact integer, in proportion to ⟨Vᵀq, Vᵀz_i⟩
lead       the first third of y, d/3 components. For few queries it chooses `FIRST` times as
           many rows as are wanted from all, and only of those the rest is read. Of 100,000 rows
           whose best 160 directions hold .74 it keeps 997 of the true 1,000 in 100 answers
candidates two for each wanted row, at least `LEAST`. Measured with 100,000 sentences of 384
           dimensions: 99 of the true 100 in 10 answers
exact      while a collection is small, sketches of one query have all components, V = I, no
           rest, and a scale that cuts none, so that their error is known; see `search.single`
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
FIRST = 6
MANY = 4  # queries beyond which one product with every rest costs less than picking rows
GROUP = 8  # rows of a group
ROUNDS = 3
SAMPLE = 4096  # rows
SMALL_DIM = 128  # dimensions up to which all are used
HELD = 0.75
SMALL_SHARE = 0.05  # of w_D, that λ and G may add to a distance at most
Places = NDArray[np.int64]
CLOSED = torch.iinfo(torch.int32).min // 2  # below any score, and with any added


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


def padded(rows: int) -> int:
    """So many rows, and what fills their last group."""
    return -(-rows // GROUP) * GROUP


@dataclass(frozen=True)
class Sketches:
    """Sketches of rows in memory of their own, the lead of all of them in one piece."""

    lead: torch.Tensor  # (g·GROUP, l) int8
    rest: torch.Tensor  # (g·GROUP, m − l) int8

    @classmethod
    def room(cls, sketcher: Sketcher, rows: int) -> Sketches:
        """Zeros, for whole groups of rows."""
        room = padded(rows)
        widths = sketcher.lead, sketcher.width - sketcher.lead
        return cls(*(torch.zeros(room, m, dtype=torch.int8, device="cpu") for m in widths))

    def __len__(self) -> int:
        return len(self.lead)

    def put(self, where: slice | torch.Tensor, rows: torch.Tensor) -> None:
        """Set the sketches of some rows, (n, m)."""
        width = self.lead.shape[1]
        self.lead[where], self.rest[where] = rows[:, :width], rows[:, width:]

    def copied(self, sketcher: Sketcher, rows: int, where: slice | torch.Tensor) -> Sketches:
        """Those of some rows, first, in room for so many."""
        out = self.room(sketcher, rows)
        lead, rest = self.lead[where], self.rest[where]
        out.lead[: len(lead)], out.rest[: len(rest)] = lead, rest
        return out

    def head(self, rows: int) -> Sketches:
        """The first whole groups that hold so many rows, without a copy."""
        room = padded(rows)
        return Sketches(self.lead[:room], self.rest[:room])


@dataclass(frozen=True)
class Sketcher:
    """What turns rows and queries of one field into sketches."""

    basis: torch.Tensor  # V, (d, m)
    scale: float  # 127/s of rows
    lead: int  # components that are read of every row
    exact: bool = False  # all components and no row beyond the scale: the error is known

    @classmethod
    def of(cls, rows: torch.Tensor) -> Sketcher:
        """The sketches that suit a sample of decoded rows (n, d)."""
        dim = rows.shape[1]
        width, lead = 32 * -(-5 * dim // (12 * 32)), 32 * -(-dim // (3 * 32))
        basis = torch.eye(dim, dtype=torch.float32, device="cpu")
        if dim <= SMALL_DIM:
            return cls(basis, 127 / max(_peak(rows), 1e-20), dim)
        generator = torch.Generator("cpu").manual_seed(0)
        start = torch.randn(dim, width, generator=generator, dtype=torch.float32, device="cpu")
        basis = torch.linalg.qr(start).Q
        for _ in range(ROUNDS):
            basis = torch.linalg.qr(rows.T @ (rows @ basis)).Q
        seen = rows @ basis
        basis = basis @ torch.linalg.eigh(seen.T @ seen).eigenvectors.flip(1)
        if seen.square().sum() < HELD * rows.square().sum():
            basis = torch.cat([basis, torch.linalg.qr(basis, mode="complete").Q[:, width:]], 1)
        basis = basis.contiguous()
        return cls(basis, 127 / max(_peak(rows @ basis), 1e-20), lead)

    @classmethod
    def whole(cls, rows: torch.Tensor) -> Sketcher:
        """All components of decoded rows (n, d), none cut."""
        dim = rows.shape[1]
        basis = torch.eye(dim, dtype=torch.float32, device="cpu")
        return cls(basis, 127 / max(_peak(rows), 1e-20), dim, exact=True)

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


def best(
    queries: torch.Tensor, rows: Sketches, count: int, closed: torch.Tensor | None
) -> tuple[Places, NDArray[np.int64]]:
    """Places of the `count` rows of largest score.

    Parameters
    ----------
    queries : tensor of shape (b, m), int8
    rows : Sketches
        Of g·GROUP rows.
    count : int
        At most the number of open rows.
    closed : tensor of shape (g·GROUP,), bool, optional
        Places that may not be found, padding included.

    Returns
    -------
    places : ndarray of shape (b, count), int64
        In no order.
    least : ndarray of shape (b,), int64
        The smallest score among them.
    """
    lead, rest = rows.lead.shape[1], rows.rest
    scores = torch._int_mm(queries[:, :lead], rows.lead.T)
    if len(queries) > MANY and rest.shape[1]:
        scores += torch._int_mm(queries[:, lead:], rest.T)
        rest = rest[:, :0]
    if closed is not None:
        scores.masked_fill_(closed, CLOSED)
    found = [
        _head(own, query, rest, count)
        for own, query in zip(scores.numpy(), queries[:, lead:], strict=True)
    ]
    return np.stack([places for places, _ in found]), np.array([least for _, least in found])


def _head(
    scores: NDArray[np.int32], query: torch.Tensor, rest: torch.Tensor, count: int
) -> tuple[Places, int]:
    """`best` of the scores (g·GROUP,) by the lead, and the rest (m − l,) of one query."""
    width = rest.shape[1]
    some = min(FIRST * count, len(scores)) if width else count
    groups = scores.reshape(GROUP, -1).max(0)
    n_groups = len(groups)
    chosen = _largest(groups, some) if some < n_groups else np.arange(n_groups)
    places = (chosen + n_groups * np.arange(GROUP)[:, None]).ravel()
    scores = scores[places]
    if width:
        first = _largest(scores, some)
        places = places[first]
        few = rest.index_select(0, torch.from_numpy(places))
        scores = scores[first] + torch._int_mm(query[None], few.T).numpy()[0]
    last = _largest(scores, count)
    return places[last], int(scores[last[0]])


def _largest(values: NDArray[np.int32], count: int) -> Places:
    """Places of the largest, the smallest of them first."""
    return values.argpartition(len(values) - count)[len(values) - count :]
