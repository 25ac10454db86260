"""Columns of rows that come after the fit: present anchors, heat from the present rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.fit.encoding import columns_of
from energy_plugin.energy.fit.heat import warmed
from energy_plugin.energy.fit.neighbours import adjacent_cells, neighbour_count
from energy_plugin.energy.search.rows import RowStore


def encode_rows(store: RowStore, vectors: NDArray[np.float32]) -> EnergyColumns:
    """Columns of new vectors (n, d) beside the rows of a store, which stay as they are."""
    points, real = store.projection.project(vectors)
    return columns_of(store.projection, points, real, _smooth(store, points, real))


def _smooth(store: RowStore, points: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Heat from the present rows, and from each other, into new rows."""
    projection = store.projection
    config = projection.field.config
    heat = projection.field.scalars.heat * config.heat
    present = np.flatnonzero(store.alive & (store.columns.cell >= 0))
    fresh = real.nonzero()[:, 0]
    k = neighbour_count(len(present) + len(fresh), config.neighbours)
    if heat == 0 or k == 0 or len(fresh) == 0:
        return points
    out = points.clone()
    if len(present) <= config.exhaustive_rows:
        where = torch.from_numpy(present).to(points.device)
        pool = torch.cat([store.decoded()[where], points[fresh]])
        out[fresh] = warmed(
            points[fresh], pool, first=len(present), k=k, heat=heat, power=config.weight_power
        )
        return out
    cell = projection.cells(points, real)
    order, ends = store.lists()
    anchors = projection.graph.anchors
    for c in cell[fresh].unique().tolist():
        near = adjacent_cells(anchors, slice(c, c + 1))[0].tolist()
        found = np.concatenate([order[(ends[a - 1] if a else 0) : ends[a]] for a in near])
        mine = (cell == c).nonzero()[:, 0]
        pool = torch.cat([store.decode(found), points[mine]])
        out[mine] = warmed(
            points[mine], pool, first=len(found), k=k, heat=heat, power=config.weight_power
        )
    return out
