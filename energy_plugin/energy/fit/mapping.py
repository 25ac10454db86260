"""Columns of rows from a field and the sample it was fitted on: a pure function of each row.

`EnergyIndex.encode` lets new rows warm each other; here heat comes from the sample alone. So the
columns of a row do not depend on the rows around it, and a table can be mapped piece by piece,
in any order and on any number of machines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit.anchors import default_count
from energy_plugin.energy.fit.encoding import columns_of
from energy_plugin.energy.fit.heat import smooth
from energy_plugin.energy.fit.neighbours import adjacent_cells, neighbour_count
from energy_plugin.energy.search.rows import cell_lists
from energy_plugin.neutral import neutral
from energy_plugin.validation import as_vectors

ROWS_PER_ANCHOR = 8  # of the sample, at least


def sample_config(config: EnergyConfig, rows: int, sample: int) -> EnergyConfig:
    """The configuration to fit a sample with: as many anchors as suit all the rows.

    Parameters
    ----------
    config : EnergyConfig
    rows, sample : int
        Of the collection and of the sample.
    """
    if config.n_anchors is not None or sample >= rows:
        return config
    return replace(config, n_anchors=max(1, min(default_count(rows), sample // ROWS_PER_ANCHOR)))


class RowMapper:
    """Gives any row its columns.

    Parameters
    ----------
    field : EnergyField
    sample : EnergyColumns
        Of the rows that the field was fitted on.
    device : str, optional
    """

    @neutral()
    def __init__(
        self, field: EnergyField, sample: EnergyColumns, *, device: str | None = None
    ) -> None:
        self.field = field
        self._projection = field.projection(device)
        order, self._ends = cell_lists(
            np.flatnonzero(sample.cell >= 0), sample.cell, field.n_anchors
        )
        self._sample = self._projection.decode(sample.cell[order], sample.residual[order])
        self._k = neighbour_count(len(order), field.config.neighbours)
        self._adjacent = adjacent_cells(self._projection.graph.anchors)

    @neutral()
    def columns(self, vectors: Any) -> EnergyColumns:
        """Columns of some rows.

        Parameters
        ----------
        vectors : array_like of shape (n, d)

        Returns
        -------
        EnergyColumns
            In the order of the rows.
        """
        points, real = self._projection.project(as_vectors(vectors, dim=self.field.dim))
        mapped = columns_of(self._projection, points, real, self._smooth(points, real))
        return replace(mapped, field_id=self.field.fingerprint)

    def _smooth(self, points: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Heat from the sample rows of the own and the adjacent cells."""
        config = self.field.config
        heat = self.field.scalars.heat * config.heat
        if heat == 0 or self._k == 0:
            return points
        out = points.clone()
        cell = self._projection.cells(points, real)
        order = torch.argsort(cell, stable=True)
        cells, counts = torch.unique_consecutive(cell[order], return_counts=True)
        for c, mine in zip(cells.tolist(), order.split(counts.tolist()), strict=True):
            if c < 0:
                continue
            near = self._adjacent[c].tolist()
            spans = [self._sample[(self._ends[a - 1] if a else 0) : self._ends[a]] for a in near]
            pool = torch.cat(spans)
            if len(pool) == 0:
                continue
            own = points[mine]
            best = (own @ pool.T).topk(min(self._k, len(pool)), dim=1).indices
            out[mine] = smooth(own, pool, best, heat, config.weight_power)
        return out
