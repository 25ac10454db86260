"""The index: a field, the columns of its rows, and search over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy import search as searching
from energy_plugin.energy.build import fit_field, scatter
from energy_plugin.energy.codes import (
    code_bytes,
    drop_planes,
    encode,
    plane_bytes,
    squared_residuals,
    stored_bits,
)
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import BIT_CHOICES, EnergyConfig, as_config
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.heat import warmed
from energy_plugin.energy.neighbours import ADJACENT_CELLS, neighbour_count
from energy_plugin.energy.result import SearchResult
from energy_plugin.energy.store import RowStore
from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.validation import as_k, as_queries, as_rows, as_vectors

FIT_STEPS = 6


@dataclass(frozen=True)
class Drift:
    """See `EnergyIndex.drift`."""

    distortion: float  # mean squared residual of the live rows / of the fitted rows
    lambda_shift: float  # of the median λ, in robust scales s_λ


class EnergyIndex:
    """Rows of a collection, ranked by energy distance.

    Made by `fit` (from vectors) or `from_columns` (from what a host stored). Vectors are not
    kept: search reads the residual codes alone. Only directions count; a vector's length is
    ignored.
    """

    def __init__(self, field: EnergyField, columns: EnergyColumns, *, device: str | None = None):
        self.field = field
        self._projection = field.projection(device)
        self._store = RowStore(self._projection, columns)

    @classmethod
    def fit(
        cls,
        vectors: Any,
        config: EnergyConfig | None = None,
        *,
        show_progress_bar: bool = False,
        device: str | None = None,
    ) -> EnergyIndex:
        """Learn the field of a collection and index its rows as numbers 0..n−1.

        Parameters
        ----------
        vectors : array_like of shape (n, d)
        config : EnergyConfig, optional
            The default recipe if not given.
        show_progress_bar : bool, default False
        device : {"cuda", "mps", "cpu"}, optional
            The best one there is if not given.

        Raises
        ------
        InvalidInputError
            `config` is no `EnergyConfig`, the device is not available, or see
            `energy_plugin.validation.as_vectors`.
        """
        from tqdm.auto import tqdm

        settings = as_config(config)
        rows = as_vectors(vectors)
        with tqdm(total=FIT_STEPS, desc="energy field", disable=not show_progress_bar) as bar:

            def step(name: str) -> None:
                bar.set_postfix_str(name)
                bar.update()

            field, columns = fit_field(rows, settings, device=device, progress=step)
        return cls(field, columns, device=device)

    @classmethod
    def from_columns(
        cls, field: EnergyField, columns: EnergyColumns, *, device: str | None = None
    ) -> EnergyIndex:
        """Reopen an index; its rows are numbered 0..n−1 in the order of the columns.

        Raises
        ------
        ForeignFieldError
            The columns do not belong to the field.
        CorruptFieldError
            A code is altered.
        """
        width, cells = columns.residual.shape[1], columns.cell
        fits = width in {code_bytes(field.dim, bits) for bits in BIT_CHOICES}
        if not fits or (len(cells) and not -1 <= cells.min() <= cells.max() < field.n_anchors):
            raise ForeignFieldError(
                f"Columns with codes of {width} bytes do not belong to this field of {field.dim} "
                f"dimensions and {field.n_anchors} cells. Read both of the same generation, or "
                "build again."
            )
        stored_bits(columns.residual, field.dim)
        return cls(field, columns, device=device)

    def __len__(self) -> int:
        return int(self._store.alive.sum())

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the live rows, ascending; (n_live,) int64."""
        return self._store.numbers[self._store.alive]

    @property
    def columns(self) -> EnergyColumns:
        """Columns of the live rows, in the order of `rows`."""
        return self._store.columns.take(self._store.alive)

    def columns_of(self, rows: Any) -> EnergyColumns:
        """Columns of some live rows, without a copy of the others.

        Parameters
        ----------
        rows : array_like of shape (n,), int
            Row numbers in any order, also repeated.

        Returns
        -------
        EnergyColumns
            In the order of `rows`.

        Raises
        ------
        InvalidInputError
            A number is not that of a live row.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        positions = self._store.positions(wanted)
        if len(positions) != len(wanted):
            raise InvalidInputError(
                f"{len(wanted) - len(positions)} of {len(wanted)} rows are not in the index. "
                "Pass numbers that are in index.rows."
            )
        return self._store.columns.take(positions)

    @property
    def device(self) -> str:
        """Where the numerics run."""
        return str(self._projection.device)

    def add(self, vectors: Any) -> NDArray[np.int64]:
        """Add rows; they are searchable at once.

        They are assigned to the present anchors and smoothed with their neighbours' decoded
        vectors; the field and the other rows stay as they are.

        Parameters
        ----------
        vectors : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,), int64
            Their numbers, which continue after the highest ever given.

        Raises
        ------
        InvalidInputError
            Nothing is added then.
        """
        columns = self.encode(vectors)
        width = self._store.columns.residual.shape[1]
        if columns.residual.shape[1] > width:  # the stored rows have lost planes
            bits = (width - code_bytes(self.field.dim, 0)) // plane_bytes(self.field.dim)
            columns = replace(columns, residual=drop_planes(columns.residual, self.field.dim, bits))
        return self._store.append(columns)

    def remove(self, rows: Any) -> None:
        """Remove rows by number; the numbers of the others stay.

        Raises
        ------
        InvalidInputError
            A number is unknown or removed already; nothing is removed then.
        """
        self._store.remove(as_rows(rows))

    def encode(self, vectors: Any) -> EnergyColumns:
        """Columns of new vectors, as `add` would store them, without adding them.

        Raises
        ------
        InvalidInputError
            See `energy_plugin.validation.as_vectors`.
        """
        projection, config = self._projection, self.field.config
        points, real = projection.project(as_vectors(vectors, dim=self.field.dim))
        lambda_, dispersion = projection.taumode(points, real)
        smoothed = self._smooth(points, real)
        cell = projection.cells(smoothed, real)
        keep = cell >= 0
        residual = encode(
            (smoothed - projection.graph.anchors[cell.clamp_min(0)])[keep], config.bits
        )
        columns = EnergyColumns(
            lambda_[keep].cpu().numpy(),
            dispersion[keep].cpu().numpy(),
            cell[keep].cpu().numpy(),
            residual,
        )
        return scatter(columns, real.cpu().numpy(), config.bits)

    def _smooth(self, points: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Heat from the present rows, and from each other, into new rows."""
        config, store = self.field.config, self._store
        heat = self.field.scalars.heat * config.heat
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
        cell = self._projection.cells(points, real)
        order, ends = store.lists()
        anchors = self._projection.graph.anchors
        for c in cell[fresh].unique().tolist():
            gaps = (anchors - anchors[c]).square().sum(1)
            near = gaps.topk(min(ADJACENT_CELLS, len(gaps)), largest=False).indices.tolist()
            found = np.concatenate([order[(ends[a - 1] if a else 0) : ends[a]] for a in near])
            mine = (cell == c).nonzero()[:, 0]
            pool = torch.cat([store.decode(found), points[mine]])
            out[mine] = warmed(
                points[mine], pool, first=len(found), k=k, heat=heat, power=config.weight_power
            )
        return out

    def search(self, queries: Any, k: int = 10, *, rows: Any | None = None) -> SearchResult:
        """The k nearest live rows of each query by energy distance.

        Parameters
        ----------
        queries : array_like of shape (q, d) or (d,)
        k : int, default 10
            Clipped to the number of rows that may be found.
        rows : array_like of int, optional
            Only these rows may be found; numbers that are not live are ignored.

        Returns
        -------
        SearchResult
            Arrays of shape (q, min(k, rows that may be found)).

        Raises
        ------
        InvalidInputError
            Queries or k are not valid.
        """
        checked = as_queries(queries, self.field.dim)
        k = as_k(k)
        store = self._store
        live = np.flatnonzero(store.alive)
        allowed = live if rows is None else store.positions(as_rows(rows))
        if len(allowed) == 0:
            return searching.nothing(len(checked))
        prepared = searching.prepare(self._projection, checked)
        if len(allowed) <= self.field.config.exhaustive_rows:
            return searching.exhaustive(store, prepared, k, allowed)
        return searching.probed(store, prepared, k, None if rows is None else allowed)

    def drift(self) -> Drift:
        """How far the live rows have moved from what the field was fitted on.

        Returns
        -------
        Drift
            Near (1, 0) after a fit. A distortion above about 1.3 or a shift above about 1 says
            that a new fit will pay.
        """
        columns = self.columns.take(self.columns.cell >= 0)
        scalars = self.field.scalars
        if len(columns) == 0 or scalars.distortion <= 0:
            return Drift(1.0, 0.0)
        distortion = float(squared_residuals(columns.residual, self.field.dim).mean())
        shift = float(np.median(columns.lambda_)) - scalars.median_lambda
        return Drift(distortion / scalars.distortion, shift / scalars.scale_lambda)
