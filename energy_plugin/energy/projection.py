"""A field's functions as tensors on one device: vectors → coordinates, cells, λ and G."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import EPS, blocks, unit
from energy_plugin.energy.codec.codes import DECODE_ROWS, decode, squared_residuals
from energy_plugin.energy.codec.rotation import rotation
from energy_plugin.energy.columns import NO_CELL
from energy_plugin.energy.distance import Energies
from energy_plugin.energy.fit.anchors import assign
from energy_plugin.energy.taumode import AnchorGraph, taumode

EXACT_BITS = 8  # codes of so many bits say ⟨a, r⟩ better than the float16 lengths do
EXACT_DIM = 1024  # up to here the inverse of the metric is taken in float64
SHORT = 1e-2  # ‖a‖² below which an anchor has hardly a direction


class Learned(Protocol):
    """What a projection takes of an `EnergyField`."""

    @property
    def config(self) -> Any:
        """`EnergyConfig`."""

    @property
    def scalars(self) -> Any:
        """Bandwidth, scales and τ."""

    @property
    def fingerprint(self) -> str:
        """What columns of rows belong to."""

    @property
    def dim(self) -> int:
        """Dimensions of the vectors, d."""

    @property
    def n_anchors(self) -> int:
        """Voronoi cells, m."""

    @property
    def centre(self) -> NDArray[np.float32]:
        """Shape (d,)."""

    @property
    def metric(self) -> NDArray[np.float16]:
        """Shape (d, d)."""

    @property
    def anchors(self) -> NDArray[np.float16]:
        """Shape (m, d)."""

    @property
    def laplacian_data(self) -> NDArray[np.float32]:
        """Of the Laplacian in CSR form."""

    @property
    def laplacian_indices(self) -> NDArray[np.int32]:
        """Of the Laplacian in CSR form."""

    @property
    def laplacian_indptr(self) -> NDArray[np.int32]:
        """Of the Laplacian in CSR form."""


def inverse(
    matrix: torch.Tensor, anchors: torch.Tensor, centre: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """(MR)⁻¹ transposed, (d, d), and the length r that rows have in the metric, its median.

    From metric and rotation (d, d), anchors (m, d) and centre (d,); see `search.relevance`.
    """
    device = matrix.device
    matrix, centre = matrix.cpu(), centre.cpu()
    wide = matrix.double() if len(matrix) <= EXACT_DIM else matrix
    try:
        back = torch.linalg.inv(wide).float()
    except RuntimeError:  # a metric that was stored singular
        back = torch.linalg.pinv(wide).float()
    ways = unit(anchors.cpu()) @ back  # x = c + r·back
    squared = ways.square().sum(1).clamp_min(EPS)
    along = (ways @ centre) / squared
    # ‖c + r·w‖ = 1
    root = (along.square() + (1 - centre.square().sum()) / squared).clamp_min(0).sqrt()
    length = float((root - along).median())
    return back.T.contiguous().to(device), length


def transform(
    rows: torch.Tensor, centre: torch.Tensor, matrix: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows → centred, in the metric, unit again; and which rows have a direction.

    Metric and rotation are one matrix, so that coordinates come out rotated and nothing has
    to be rotated back: inner products do not notice. Without a matrix, rows only become unit.
    """
    # a largest component of one first: squares of tiny components would vanish in float32
    peak = rows.abs().amax(dim=1, keepdim=True)  # (n, 1)
    real = peak[:, 0] > 0
    out = torch.empty_like(rows)
    for part in blocks(len(rows), rows.shape[1]):
        straight = unit(rows[part] / torch.where(peak[part] > 0, peak[part], 1.0))
        out[part] = straight if matrix is None else unit((straight - centre) @ matrix)
    return out * real[:, None], real


class Arrays(NamedTuple):
    """Parts of a projection as arrays."""

    centre: NDArray[np.float32]  # (d,)
    half: NDArray[np.float32]  # (m,)
    weights: NDArray[np.float32]  # (m, m)
    degree: NDArray[np.float32]  # (m,)
    degree2: NDArray[np.float32]  # (m,)


@dataclass(frozen=True)
class Projection:
    """See `EnergyField.projection`."""

    field: Learned
    centre: torch.Tensor  # (d,)
    matrix: torch.Tensor  # M·R, (d, d)
    graph: AnchorGraph
    energies: Energies

    @classmethod
    def of(cls, field: Learned, device: str) -> Projection:
        """Tensors of a field on a device."""
        where = torch.device(device)
        matrix = field.metric.astype(np.float32) @ rotation(field.dim, field.config.seed)
        return cls(
            field=field,
            centre=torch.from_numpy(field.centre).to(where),
            matrix=torch.from_numpy(matrix).to(where),
            graph=AnchorGraph(
                anchors=torch.from_numpy(field.anchors.astype(np.float32)).to(where),
                weights=_weights(field).to(where),
                bandwidth=field.scalars.bandwidth,
                affinity=field.config.affinity_anchors,
            ),
            energies=Energies(
                weights=field.config.weights,
                scales=(field.scalars.scale_lambda, field.scalars.scale_dispersion),
            ),
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.centre.device

    @cached_property
    def back(self) -> tuple[torch.Tensor, float]:
        """See `inverse`."""
        return inverse(self.matrix, self.graph.anchors, self.centre)

    @cached_property
    def numpy(self) -> Arrays:
        """What one query needs of a projection on the CPU, without a copy where it can be."""
        degree, degree2 = self.graph.degrees
        return Arrays(
            self.centre.numpy(),
            self.graph.half.numpy(),
            self.graph.weights.numpy(),
            degree.numpy(),
            degree2.numpy(),
        )

    def project(self, rows: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates (n, d), and which rows have a direction (n,)."""
        return transform(torch.from_numpy(rows).to(self.device), self.centre, self.matrix)

    def taumode(
        self, points: torch.Tensor, real: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """λ (n,) and G (n,) of coordinates; 0 for rows without direction."""
        rough, dispersion = self.graph.energies(points)
        value = taumode(rough, dispersion, self.field.scalars.tau, self.field.config.alpha)
        zero = torch.zeros_like(value)
        return torch.where(real, value, zero), torch.where(real, dispersion, zero)

    def cells(self, points: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Voronoi cell of coordinates, −1 without direction; (n,) int64."""
        cell, _ = assign(points, self.graph.anchors)
        return torch.where(real, cell, torch.full_like(cell, NO_CELL))

    def decode(
        self,
        cell: NDArray[np.int32],
        residual: NDArray[np.uint8],
        *,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Rows that the stored cell and code stand for; zeros without direction; (n, d)."""
        if out is None:
            out = torch.empty(len(cell), self.field.dim, dtype=torch.float32, device=self.device)
        for start in range(0, len(cell), DECODE_ROWS):
            part = slice(start, start + DECODE_ROWS)
            self._decode_block(cell[part], residual[part], out[part])
        return out

    def _decode_block(
        self, cell: NDArray[np.int32], residual: NDArray[np.uint8], out: torch.Tensor
    ) -> None:
        rows = torch.from_numpy(decode(residual, self.field.dim)).to(self.device)
        anchors, share = self._shares(cell, residual, rows)
        torch.addcmul(rows, share[:, None], anchors, out=out)
        unreal = cell < 0
        if unreal.any():
            out[torch.from_numpy(unreal).to(self.device)] = 0.0

    def anchor_share(self, cell: NDArray[np.int32], residual: NDArray[np.uint8]) -> torch.Tensor:
        """What the anchor of each row is multiplied with when it is decoded, near 1; (n,)."""
        rows = torch.from_numpy(decode(residual, self.field.dim)).to(self.device)
        return self._shares(cell, residual, rows)[1]

    def _shares(
        self, cell: NDArray[np.int32], residual: NDArray[np.uint8], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Anchors (n, d) of decoded residuals (n, d), and what each is multiplied with (n,)."""
        known = np.maximum(cell, 0)
        anchors = self.graph.anchors.index_select(0, torch.from_numpy(known).to(self.device))
        # rows have length 1, so that ⟨a, r⟩ = (1 − ‖a‖² − ρ²)/2 need not be read from the code
        squared, rho2 = self._squared[known], squared_residuals(residual, self.field.dim)
        along = torch.linalg.vecdot(anchors, rows).cpu().numpy()
        share = (0.5 * (1 - squared - rho2) - along) / np.maximum(squared, np.float32(SHORT))
        share[(residual[:, 0] >= EXACT_BITS) | (squared <= SHORT)] = 0
        share += 1
        return anchors, torch.from_numpy(share).to(self.device)

    @cached_property
    def _squared(self) -> NDArray[np.float32]:
        """‖a‖² of each anchor; (m,)."""
        return (2 * self.graph.half).cpu().numpy()


def _weights(field: Learned) -> torch.Tensor:
    """W of the stored Laplacian, dense (m, m); its diagonal is left out."""
    m = field.n_anchors
    rows = np.repeat(np.arange(m), np.diff(field.laplacian_indptr))
    off = rows != field.laplacian_indices
    weights = np.zeros((m, m), dtype=np.float32)  # by hand: scipy takes .2 s to import
    weights[rows[off], field.laplacian_indices[off]] = -field.laplacian_data[off]
    return torch.from_numpy(weights)
