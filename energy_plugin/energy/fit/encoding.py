"""The row encoder: λ, G, cell and residual code of rows, from their coordinates.

A fit, a mapping of rows outside its sample and rows that are added later differ in where heat
comes from. What a row stores is made here for all three.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import blocks
from energy_plugin.energy.codec.codes import encode
from energy_plugin.energy.columns import NO_CELL, EnergyColumns
from energy_plugin.energy.projection import Projection


def columns_of(
    projection: Projection, points: torch.Tensor, real: torch.Tensor, warm: torch.Tensor
) -> EnergyColumns:
    """Columns of rows by a field.

    Parameters
    ----------
    projection : Projection
    points : tensor of shape (n, d)
        Coordinates, which λ and G are taken of.
    real : tensor of shape (n,), bool
        Which rows have a direction.
    warm : tensor of shape (n, d)
        Coordinates after the heat flow, which cell and code are taken of.
    """
    lambda_, dispersion = projection.taumode(points, real)
    cell = projection.cells(warm, real)
    return encoded(
        lambda_[real],
        dispersion[real],
        warm[real],
        cell[real],
        projection.graph.anchors,
        real=real,
        bits=projection.field.config.bits,
    )


def encoded(
    lambda_: torch.Tensor,
    dispersion: torch.Tensor,
    warm: torch.Tensor,
    cell: torch.Tensor,
    anchors: torch.Tensor,
    *,
    real: torch.Tensor,
    bits: int,
) -> EnergyColumns:
    """Columns of n rows from the values of the r rows that have a direction.

    Parameters
    ----------
    lambda_, dispersion : tensor of shape (r,)
    warm : tensor of shape (r, d)
        Coordinates after the heat flow.
    cell : tensor of shape (r,), int64
    anchors : tensor of shape (m, d)
    real : tensor of shape (n,), bool
        Which rows have a direction.
    bits : int
        Of a residual code, per component.
    """
    parts = blocks(len(warm), warm.shape[1])
    codes = [encode(warm[part] - anchors[cell[part]], bits) for part in parts]
    columns = EnergyColumns(
        lambda_.cpu().numpy(),
        dispersion.cpu().numpy(),
        cell.cpu().numpy(),
        np.concatenate(codes),
    )
    return _scattered(columns, real.cpu().numpy(), bits)


def _scattered(columns: EnergyColumns, real: NDArray[np.bool_], bits: int) -> EnergyColumns:
    """Columns of all rows from those of the rows with a direction."""
    if real.all():
        return columns
    n = len(real)
    out = EnergyColumns(
        np.zeros(n, np.float32),
        np.zeros(n, np.float32),
        np.full(n, NO_CELL, np.int32),
        np.zeros((n, columns.residual.shape[1]), np.uint8),
    )
    for name in ("lambda_", "dispersion", "cell", "residual"):
        getattr(out, name)[real] = getattr(columns, name)
    out.residual[~real, 0] = bits
    return out
