"""The energy field: everything learned from a collection, and no per-row data.

Stored bytes (`to_bytes`), d dimensions, m anchors, e edges of the anchor graph
------------------------------------------------------------------------------
=================== ============ ==============================================
array               bytes        meaning
=================== ============ ==============================================
centre              4·d          what is subtracted from a unit vector, float32
metric              2·d²         M, symmetric, float16
anchors             2·m·d        in the rotated metric, float16
laplacian_data      4·(2e + m)   energy Laplacian, CSR, float32
laplacian_indices   4·(2e + m)   int32
laplacian_indptr    4·(m + 1)    int32
metadata            about 1.5 kB configuration, scalars, format version (JSON)
=================== ============ ==============================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy import packing
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.errors import CorruptFieldError, EnergyPluginError
from energy_plugin.validation import as_vectors

if TYPE_CHECKING:
    from energy_plugin.energy.projection import Projection

FORMAT_VERSION = 1
KIND = "energy-field"


@dataclass(frozen=True)
class Scalars:
    """Learned numbers of a field."""

    similarity: float  # m̄, mean similarity of two rows
    neighbourhood: float  # ν, the same inside neighbourhoods
    gamma: float  # γ of the metric
    heat: float  # t, the scale of every heat
    bandwidth: float  # h of the anchor signals
    tau: float  # τ of taumode
    scale_lambda: float  # s_λ
    scale_dispersion: float  # s_G
    distortion: float  # mean ‖x̃ − a‖² of the fitted rows, the reference of `drift`
    median_lambda: float  # median λ of the fitted rows, likewise


@dataclass(frozen=True, eq=False)
class EnergyField:
    """What a collection taught: metric, anchors, energy Laplacian and scales.

    Parameters
    ----------
    config : EnergyConfig
    n_fitted : int
        Rows it was fitted on.
    scalars : Scalars
    centre : ndarray of shape (d,), float32
    metric : ndarray of shape (d, d), float16
    anchors : ndarray of shape (m, d), float16
    laplacian_data, laplacian_indices, laplacian_indptr : ndarray
        Energy Laplacian over the anchors in CSR form.
    """

    config: EnergyConfig
    n_fitted: int
    scalars: Scalars
    centre: NDArray[np.float32]
    metric: NDArray[np.float16]
    anchors: NDArray[np.float16]
    laplacian_data: NDArray[np.float32]
    laplacian_indices: NDArray[np.int32]
    laplacian_indptr: NDArray[np.int32]
    _projections: dict[str, Any] = field(default_factory=dict, repr=False, init=False)

    @property
    def dim(self) -> int:
        """Dimensions of the vectors, d."""
        return int(self.centre.shape[0])

    @property
    def n_anchors(self) -> int:
        """Voronoi cells, m."""
        return int(self.anchors.shape[0])

    def projection(self, device: str | None = None) -> Projection:
        """The field's functions as tensors on a device, built once per device."""
        from energy_plugin.energy.projection import Projection
        from energy_plugin.validation import as_device

        where = str(as_device(device))
        if where not in self._projections:
            self._projections[where] = Projection.of(self, where)
        ready: Projection = self._projections[where]
        return ready

    def taumode(self, vectors: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Taumode λ and dispersion G; the same function for rows and queries.

        Parameters
        ----------
        vectors : array_like of shape (n, d)

        Returns
        -------
        lambda_, dispersion : ndarray of shape (n,), float32
            Non-negative and finite; both 0 for a row of zeros.

        Raises
        ------
        InvalidInputError
            See `energy_plugin.validation.as_vectors`.
        """
        rows = as_vectors(vectors, dim=self.dim)
        projection = self.projection()
        points, real = projection.project(rows)
        lambda_, dispersion = projection.taumode(points, real)
        return lambda_.cpu().numpy(), dispersion.cpu().numpy()

    def to_bytes(self) -> bytes:
        """One self-describing, checksummed blob; the same field gives the same bytes."""
        arrays: dict[str, NDArray[Any]] = {
            "centre": self.centre,
            "metric": self.metric,
            "anchors": self.anchors,
            "laplacian_data": self.laplacian_data,
            "laplacian_indices": self.laplacian_indices,
            "laplacian_indptr": self.laplacian_indptr,
        }
        metadata = {
            "kind": KIND,
            "format_version": str(FORMAT_VERSION),
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "scalars": json.dumps(
                {f.name: getattr(self.scalars, f.name) for f in fields(Scalars)}, sort_keys=True
            ),
            "n_fitted": str(self.n_fitted),
        }
        return packing.dumps(arrays, metadata)

    @classmethod
    def from_bytes(cls, blob: bytes) -> EnergyField:
        """The field that `to_bytes` packed.

        Raises
        ------
        CorruptFieldError
            Wrong checksum, another format version, or not a field.
        """
        arrays, metadata = packing.loads(blob)
        if metadata.get("kind") != KIND:
            raise CorruptFieldError(
                f"These bytes hold {metadata.get('kind')!r}, expected {KIND!r}."
            )
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise CorruptFieldError(
                f"The field has format version {metadata.get('format_version')!r}, this version "
                f"of energy-plugin reads {FORMAT_VERSION}. Build the field again."
            )
        try:
            return cls(
                config=EnergyConfig.from_dict(json.loads(metadata["config"])),
                n_fitted=int(metadata["n_fitted"]),
                scalars=Scalars(**json.loads(metadata["scalars"])),
                centre=arrays["centre"],
                metric=arrays["metric"],
                anchors=arrays["anchors"],
                laplacian_data=arrays["laplacian_data"],
                laplacian_indices=arrays["laplacian_indices"],
                laplacian_indptr=arrays["laplacian_indptr"],
            )
        except (KeyError, TypeError, ValueError, EnergyPluginError) as error:
            raise CorruptFieldError(
                f"The stored field is incomplete ({error}). Build again."
            ) from error
