"""Upkeep of an index whose rows have changed: merge and split cells, or refit everything.

========== ===================================================================
S_c        distortion of a cell, Σ ‖x̃ − a_c‖², read from the codes' headers
overloaded a cell whose distortion is above `OVERLOAD` times the mean; while the index
           has fewer cells than its rows ask for, the ones of largest S_c as well
close      two cells whose union costs less (Ward 1963) than an overloaded cell saves
========== ===================================================================

Rows whose cell or anchor changed get new codes; all rows get new λ and G, as the graph of the
anchors is another. Without the vectors, both come from the decoded rows: at 4 bits the
second coding adds about 1 % of a residual's energy to its error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.codec.codes import encode, lowered, squared_residuals, stored_bits
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.energy.distance import robust_scale
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit import laplacian
from energy_plugin.energy.fit.anchors import assign, default_count
from energy_plugin.energy.fit.build import csr, energy_weights, row_graph
from energy_plugin.energy.fit.heat import smooth
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.energy.taumode import AnchorGraph, choose_tau, taumode

OVERLOAD = 4.0
LLOYD_STEPS = 3  # of the two halves of a cell
ROUNDS = 6  # a half may be overloaded again


@dataclass(frozen=True)
class Drift:
    """See `EnergyIndex.drift`."""

    distortion: float  # mean squared residual of the live rows / of the fitted rows
    lambda_shift: float  # of the median λ, in robust scales s_λ


@dataclass(frozen=True)
class Maintenance:
    """What `EnergyIndex.maintain` did."""

    merged: int  # cells that went into another one, empty ones included
    split: int  # cells that became two
    recoded: int  # rows with a new code
    before: Drift
    after: Drift


def drift(field: EnergyField, columns: EnergyColumns) -> Drift:
    """Distortion and λ of rows against those of the fitted rows."""
    some = columns.take(columns.cell >= 0)
    scalars = field.scalars
    if len(some) == 0 or scalars.distortion <= 0:
        return Drift(1.0, 0.0)
    distortion = float(squared_residuals(some.residual, field.dim).mean())
    shift = float(np.median(some.lambda_)) - scalars.median_lambda
    return Drift(distortion / scalars.distortion, shift / scalars.scale_lambda)


def _halves(points: torch.Tensor) -> torch.Tensor | None:
    """Two anchors for the rows of a cell, or None if they are all alike; (2, d)."""
    middle = points.mean(0)
    far = points[(points - middle).square().sum(1).argmax()]
    pair = torch.stack([far, 2 * middle - far])
    for _ in range(LLOYD_STEPS):
        cell, _ = assign(points, pair)
        if not 0 < int(cell.sum()) < len(points):
            return None
        pair = torch.stack([points[cell == 0].mean(0), points[cell == 1].mean(0)])
    return pair


@dataclass
class _Cells:
    """Anchors and the assignment of points while they change."""

    points: torch.Tensor  # (n, d)
    anchors: torch.Tensor  # (m, d)
    cell: torch.Tensor  # (n,)
    squared: torch.Tensor  # (n,)
    touched: torch.Tensor  # (n,) bool
    merged: int = 0
    split: int = 0

    def sizes(self) -> torch.Tensor:
        return torch.bincount(self.cell, minlength=len(self.anchors))

    def distortion(self) -> torch.Tensor:
        zero = torch.zeros(len(self.anchors), dtype=self.points.dtype, device=self.points.device)
        return zero.index_add_(0, self.cell, self.squared)

    def drop_empty(self) -> None:
        used = self.sizes() > 0
        self.merged += int((~used).sum())
        self.anchors = self.anchors[used]
        self.cell = (used.cumsum(0) - 1)[self.cell]

    def split_one(self, c: int) -> bool:
        mine = (self.cell == c).nonzero()[:, 0]
        pair = _halves(self.points[mine]) if len(mine) > 1 else None
        if pair is None:
            return False
        side, squared = assign(self.points[mine], pair)
        self.anchors[c] = pair[0]
        self.anchors = torch.cat([self.anchors, pair[1:]])
        self.cell[mine] = torch.where(side == 0, c, len(self.anchors) - 1)
        self.squared[mine] = squared
        self.touched[mine] = True
        self.split += 1
        return True

    def merge_one(self, c: int, into: int) -> None:
        mine = ((self.cell == c) | (self.cell == into)).nonzero()[:, 0]
        self.anchors[into] = self.points[mine].mean(0)
        self.cell[mine] = into
        self.squared[mine] = (self.points[mine] - self.anchors[into]).square().sum(1)
        self.touched[mine] = True


def _rebalance(cells: _Cells, wanted: int) -> None:
    """Split what is overloaded, then merge what is close until no more than `wanted` are left."""
    cells.drop_empty()
    for _ in range(ROUNDS):
        load = cells.distortion()
        level = float(load.sum()) / max(1, wanted)
        room = max(0, wanted - len(cells.anchors))
        order = torch.argsort(load, descending=True, stable=True).tolist()
        loads = load.tolist()
        heavy = [c for i, c in enumerate(order) if loads[c] > OVERLOAD * level or i < room]
        if sum(cells.split_one(c) for c in heavy) == 0:
            break
    surplus = len(cells.anchors) - wanted
    if surplus <= 0:
        return
    size = cells.sizes().float()
    gap, partner = torch.cdist(cells.anchors, cells.anchors).fill_diagonal_(torch.inf).min(1)
    cost = size * size[partner] / (size + size[partner]) * gap.square()
    bound = float(cells.distortion().mean())
    gone: set[int] = set()
    partners, costs = partner.tolist(), cost.tolist()
    for c in torch.argsort(cost, stable=True).tolist():
        if surplus <= 0 or costs[c] > bound:
            break
        if c not in gone and partners[c] not in gone:
            cells.merge_one(c, partners[c])
            gone.update((c, partners[c]))
            surplus -= 1
    cells.drop_empty()


def maintain(
    field: EnergyField,
    projection: Projection,
    columns: EnergyColumns,
    points: torch.Tensor,
    exact: torch.Tensor,
) -> tuple[EnergyField, EnergyColumns, Maintenance]:
    """Merge and split cells of a field for its rows.

    Parameters
    ----------
    field : EnergyField
    projection : Projection
        Of the field, on the device of the points.
    columns : EnergyColumns
        Of n rows.
    points : tensor of shape (n, d)
        Their heated coordinates, decoded or exact; codes are made of them.
    exact : tensor of shape (n, d)
        Their coordinates for λ and G.

    Returns
    -------
    field, columns, report
    """
    config, dim = field.config, field.dim
    before = drift(field, columns)
    real = torch.from_numpy(columns.cell >= 0).to(points.device)
    rows = real.nonzero()[:, 0]
    if len(rows) == 0:
        return field, columns, Maintenance(0, 0, 0, before, before)
    own = torch.from_numpy(columns.cell.astype(np.int64)).to(points.device)[rows]
    mine = points[rows]
    anchors = projection.graph.anchors.clone()
    cells = _Cells(
        points=mine,
        anchors=anchors,
        cell=own.clone(),
        squared=(mine - anchors[own]).square().sum(1),
        touched=torch.zeros(len(rows), dtype=torch.bool, device=points.device),
    )
    _rebalance(cells, config.n_anchors or default_count(len(rows)))
    if cells.merged == cells.split == 0:
        return field, columns, Maintenance(0, 0, 0, before, before)

    stored = cells.anchors.cpu().numpy().astype(np.float16)
    anchors = torch.from_numpy(stored.astype(np.float32)).to(points.device)
    weights, bandwidth = energy_weights(anchors, config)
    signals = AnchorGraph(anchors, weights, bandwidth, config.affinity_anchors)
    rough, dispersion = signals.energies(exact[rows])
    tau = choose_tau(rough, config)
    lambda_ = taumode(rough, dispersion, tau, config.alpha)
    scalars = replace(
        field.scalars,
        bandwidth=bandwidth,
        tau=tau,
        scale_lambda=robust_scale(lambda_),
        scale_dispersion=robust_scale(dispersion),
        median_lambda=float(lambda_.median()),
    )
    indptr, indices, data = csr(laplacian.laplacian(weights))
    changed = replace(
        field,
        scalars=scalars,
        anchors=stored,
        laplacian_data=data,
        laplacian_indices=indices,
        laplacian_indptr=indptr,
    )
    where = rows.cpu().numpy()
    fresh = columns.take(slice(None))
    values = (lambda_.cpu().numpy(), dispersion.cpu().numpy(), cells.cell.cpu().numpy())
    out = [array.copy() for array in (fresh.lambda_, fresh.dispersion, fresh.cell)]
    for array, value in zip(out, values, strict=True):
        array[where] = value
    again = cells.touched.cpu().numpy()
    residual = columns.residual.copy()
    residual[where[again]] = recode(
        (mine - anchors[cells.cell])[cells.touched], columns.residual[where[again]], dim
    )
    updated = EnergyColumns(out[0], out[1], out[2], residual)
    after = drift(changed, updated)
    report = Maintenance(cells.merged, cells.split, int(again.sum()), before, after)
    return changed, updated, report


def heated(points: torch.Tensor, real: torch.Tensor, field: EnergyField) -> torch.Tensor:
    """Coordinates (n, d) of all rows after the heat flow among them, as a fit lets it flow."""
    config = field.config
    out = points.clone()
    if real.any() and config.heat > 0:
        some = points[real]
        near, _ = row_graph(some, config)
        out[real] = smooth(some, some, near, field.scalars.heat * config.heat, config.weight_power)
    return out


def recode(residuals: torch.Tensor, old: NDArray[np.uint8], dim: int) -> NDArray[np.uint8]:
    """Codes of residuals in the length and with the planes of the codes that they replace."""
    used = stored_bits(old, dim)
    out = np.zeros_like(old)
    for bits in BIT_CHOICES:
        rows = np.flatnonzero(used == bits)
        if len(rows):
            where = torch.from_numpy(rows).to(residuals.device)
            code = encode(residuals[where], bits)
            out[rows, : code.shape[1]] = code
    return out


def keep_fidelity(columns: EnergyColumns, dim: int, bits: NDArray[np.uint8]) -> EnergyColumns:
    """Drop the planes that rows had lost before; bits (n,)."""
    residual = columns.residual.copy()
    now = stored_bits(residual, dim)
    for level in np.unique(bits[bits < now]).tolist():
        rows = np.flatnonzero((bits == level) & (now > level))
        residual[rows] = lowered(residual[rows], dim, level)
    return replace(columns, residual=residual)


class Recovered:
    """`recovered` vectors of rows of a store, made when they are read; shape (n, d)."""

    def __init__(self, store: RowStore, positions: NDArray[np.int64]) -> None:
        self._store = store
        self._positions = positions
        self.shape = (len(positions), store.projection.field.dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        store = self._store
        return recovered(store.projection, store.decode(self._positions[rows]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


def recovered(projection: Projection, points: torch.Tensor) -> NDArray[np.float32]:
    """Vectors of unit length whose coordinates these are; (n, d).

    A point is z ∝ (x − c)·M with ‖x‖ = 1. With w = z·M⁻¹, x = c + s·w; s > 0 follows from the
    length: s²‖w‖² + 2s⟨w, c⟩ + ‖c‖² = 1.
    """
    inverse = torch.linalg.inv(projection.matrix.double())
    centre = projection.centre.double()
    out = np.zeros(points.shape, dtype=np.float32)
    for start in range(0, len(points), 1 << 14):
        w = points[start : start + (1 << 14)].double() @ inverse
        a = w.square().sum(1).clamp_min(1e-30)
        b = w @ centre
        rest = 1 - centre.square().sum()
        s = (-b + (b.square() + a * rest).clamp_min(0).sqrt()) / a
        x = centre + s[:, None] * w
        zero = (points[start : start + (1 << 14)] == 0).all(1)
        out[start : start + (1 << 14)] = x.masked_fill(zero[:, None], 0.0).float().cpu().numpy()
    return out
