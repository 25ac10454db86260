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

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.codec import packing
from energy_plugin.energy.codec.rotation import ROUNDS
from energy_plugin.energy.config import MOST_ANCHORS, EnergyConfig
from energy_plugin.errors import CorruptFieldError, EnergyPluginError
from energy_plugin.neutral import neutral
from energy_plugin.validation import as_vectors

if TYPE_CHECKING:
    from energy_plugin.energy.projection import Projection

FORMAT_VERSION = 2
KIND = "energy-field"
_DTYPES = {
    "centre": np.float32,
    "metric": np.float16,
    "anchors": np.float16,
    "laplacian_data": np.float32,
    "laplacian_indices": np.int32,
    "laplacian_indptr": np.int32,
}
_MOST = np.finfo(np.float32).max
TINY = 1e-15  # learned numbers that are divided by are larger, and none is above 1/TINY
_LARGEST = {"centre": 1.01, "metric": 1.01, "anchors": 2.0}  # of unit rows; rounding included
_POSITIVE = ("gamma", "bandwidth", "tau", "scale_lambda", "scale_dispersion")


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
    # T of the relevance; None in fields of format 1 and of very few rows
    related: float | None = None

    @property
    def meaning(self) -> dict[str, float]:
        """Those that give cells, codes, λ and G their meaning."""
        return {name: value for name, value in asdict(self).items() if name != "related"}


@dataclass(frozen=True, eq=False)
class EnergyField:
    """Everything learned from a collection: metric, anchors, energy Laplacian and scales.

    Parameters
    ----------
    config : EnergyConfig
    n_fitted : int
        Number of rows in the fit.
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

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the field, which its columns carry, as 16 hexadecimal digits.

        Covers everything that gives cells, codes, λ and G their meaning: metric, anchors, the
        rotation of the codes and the anchor graph. Weights and heats of a search are left out.
        """
        settings = (self.config.seed, ROUNDS, self.config.affinity_anchors, self.config.alpha)
        digest = hashlib.blake2b(digest_size=8)
        digest.update(json.dumps([settings, self.scalars.meaning], sort_keys=True).encode())
        for name, dtype in _DTYPES.items():
            array = np.ascontiguousarray(
                getattr(self, name), dtype=np.dtype(dtype).newbyteorder("<")
            )
            digest.update(f"{name} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    @neutral()
    def projection(self, device: str | None = None) -> Projection:
        """The field's functions as tensors on a device, built once per device."""
        from energy_plugin.energy.projection import Projection
        from energy_plugin.validation import as_device

        where = str(as_device(device))
        if where not in self._projections:
            self._projections[where] = Projection.of(self, where)
        ready: Projection = self._projections[where]
        return ready

    @neutral()
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
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _DTYPES}
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
            Wrong checksum, another format version, not a field, or parts that do not fit.
        """
        arrays, metadata = packing.loads(blob)
        if metadata.get("kind") != KIND:
            raise CorruptFieldError(
                f"These bytes hold {metadata.get('kind')!r}, expected {KIND!r}. Pass those of "
                "EnergyField.to_bytes()."
            )
        packing.check_version(metadata, FORMAT_VERSION, "The energy field", oldest=1)
        try:
            _check_arrays(arrays)
            return cls(
                config=EnergyConfig.from_dict(json.loads(metadata["config"])),
                n_fitted=_count(metadata["n_fitted"]),
                scalars=_scalars(json.loads(metadata["scalars"])),
                **arrays,
            )
        except (KeyError, TypeError, ValueError, RecursionError, EnergyPluginError) as error:
            raise CorruptFieldError(
                f"The stored field is incomplete or altered ({error}). Build again."
            ) from error


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(f"n_fitted is {value}, expected at least 0")
    return value


def _scalars(values: Any) -> Scalars:
    """Learned numbers, all finite, those that are divided by positive."""
    found = Scalars(**values)
    for name, value in asdict(found).items():
        if name == "related" and value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        least = TINY if name in _POSITIVE else -1 / TINY
        if not number or not least <= value <= 1 / TINY:
            raise ValueError(f"{name} is {value!r}, expected {least:g} to {1 / TINY:g}")
    return found


def _check_arrays(arrays: dict[str, NDArray[Any]]) -> None:
    """Shapes, types and references of the arrays: what nothing later on checks again.

    Raises
    ------
    ValueError
        One does not fit the others.
    """
    if set(arrays) != set(_DTYPES):
        raise ValueError(f"it holds the arrays {sorted(arrays)}, expected {sorted(_DTYPES)}")
    for name, dtype in _DTYPES.items():
        if arrays[name].dtype != dtype:
            raise ValueError(f"{name} has dtype {arrays[name].dtype}, expected {np.dtype(dtype)}")
    d, (m, *_) = arrays["centre"].size, arrays["anchors"].shape or (0,)
    edges = arrays["laplacian_data"].size
    shapes = {
        "centre": (d,),
        "metric": (d, d),
        "anchors": (m, d),
        "laplacian_data": (edges,),
        "laplacian_indices": (edges,),
        "laplacian_indptr": (m + 1,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
        if not (np.abs(arrays[name], dtype=np.float32) <= _LARGEST.get(name, _MOST)).all():
            raise ValueError(f"{name} has NaN, infinity or values that are out of range")
    if d < 1 or not 1 <= m <= MOST_ANCHORS:
        raise ValueError(f"it has {d} dimensions and {m} anchors, expected at most {MOST_ANCHORS}")
    starts, columns = arrays["laplacian_indptr"], arrays["laplacian_indices"]
    if starts[0] != 0 or starts[-1] != edges or (np.diff(starts) < 0).any():
        raise ValueError("the row pointers of the Laplacian are out of order")
    if edges and not 0 <= columns.min() <= columns.max() < m:
        raise ValueError("the Laplacian names anchors that do not exist")
    off = columns != np.repeat(np.arange(m), np.diff(starts))
    edge = arrays["laplacian_data"][off]
    if ((edge > 0) | (edge < -1.01)).any():
        raise ValueError("the Laplacian has edge weights outside 0 to 1")
