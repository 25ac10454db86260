"""One query and its candidates in the coordinates that rank them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.distance import Energies, robust_scale
from energy_plugin.energy.fit.build import energy_weights
from energy_plugin.energy.projection import Projection, transform
from energy_plugin.energy.taumode import AnchorGraph, choose_tau, taumode


@dataclass(frozen=True)
class Scene:
    """What `EnergyReranker` orders.

    Parameters
    ----------
    query : tensor of shape (d,)
    rows : tensor of shape (c, d)
    real : tensor of shape (c,), bool
        Which candidates have a direction.
    lambda_term, dispersion_term : tensor of shape (c,)
        Weighted terms of the distance.
    """

    query: torch.Tensor
    rows: torch.Tensor
    real: torch.Tensor
    lambda_term: torch.Tensor
    dispersion_term: torch.Tensor

    @classmethod
    def on_field(
        cls,
        query: NDArray[np.float32],
        rows: NDArray[np.float32] | torch.Tensor,
        columns: EnergyColumns | None,
        projection: Projection,
        config: EnergyConfig,
    ) -> Scene:
        """Coordinates and energies by the field of a collection.

        Parameters
        ----------
        query : ndarray of shape (1, d)
        rows : ndarray or tensor of shape (c, d)
            Vectors; with `columns`, what these decode to.
        columns : EnergyColumns, optional
            Of the rows, where they are stored.
        projection : Projection
            Of the field.
        config : EnergyConfig
            Its weights count.
        """
        scalars = projection.field.scalars
        energies = Energies(config.weights, (scalars.scale_lambda, scalars.scale_dispersion))
        q, real_q = projection.project(query)
        lambda_q, dispersion_q = projection.taumode(q, real_q)
        if columns is None:
            y, real = projection.project(np.asarray(rows))
            lambda_, dispersion = projection.taumode(y, real)
        else:
            y = rows if isinstance(rows, torch.Tensor) else torch.from_numpy(rows)
            real = torch.from_numpy(columns.cell >= 0).to(y.device)
            lambda_ = torch.from_numpy(columns.lambda_).to(y.device)
            dispersion = torch.from_numpy(columns.dispersion).to(y.device)
        return cls(
            q[0],
            y,
            real,
            energies.lambda_term(lambda_q, lambda_),
            energies.dispersion_term(dispersion_q, dispersion),
        )

    @classmethod
    def alone(
        cls,
        query: NDArray[np.float32],
        rows: NDArray[np.float32],
        config: EnergyConfig,
        device: str,
    ) -> Scene:
        """Unit vectors, and energies from the candidates alone; shapes as in `on_field`."""
        both = torch.from_numpy(np.concatenate([query, rows])).to(device)
        points, everything = transform(both, both.new_zeros(both.shape[1]), None)
        q, y, real = points[:1], points[1:], everything[1:]
        none = y.new_zeros(len(y))
        if not real.any() or not any(config.weights[:2]):
            return cls(q[0], y, real, none, none)
        weights, bandwidth = energy_weights(y[real], config)
        graph = AnchorGraph(y[real], weights, bandwidth, config.affinity_anchors)
        rough, dispersion = graph.energies(points)
        tau = choose_tau(rough[1:][real], config)
        lambda_ = taumode(rough, dispersion, tau, config.alpha)
        scales = robust_scale(lambda_[1:][real]), robust_scale(dispersion[1:][real])
        energies = Energies(config.weights, scales)
        return cls(
            q[0],
            y,
            real,
            energies.lambda_term(lambda_[0], lambda_[1:]),
            energies.dispersion_term(dispersion[0], dispersion[1:]),
        )
