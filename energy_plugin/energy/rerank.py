"""Order the candidates of any first search by energy distance: arrays in, order out.

========== ===================================================================
q, y_i     query and candidates, (d,) and (c, d)
with field coordinates, λ and G are those of the field; candidates that stand in an index
           are decoded from their stored columns instead, if these are given
without    unit vectors less `SHARED` times the candidates' mean, unit again: what all
           candidates share tells none of them apart. λ and G come from the energy
           Laplacian over the candidates themselves
both       candidates and query form one graph, heat flows on it for a step, and the energy
           distance of `distance` ranks
========== ===================================================================

No database and no index is needed. Every candidate takes part: there is no pool as in `search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.build import energy_weights
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig, as_config
from energy_plugin.energy.device import unit
from energy_plugin.energy.distance import Energies, robust_scale
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.local import joined_similarity
from energy_plugin.energy.projection import transform
from energy_plugin.energy.result import EnergyTerms
from energy_plugin.energy.taumode import AnchorGraph, choose_tau, taumode
from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.validation import as_device, as_k, as_queries, as_vectors

SHARED = 0.3  # share of the candidates' mean that is subtracted where there is no field


@dataclass(frozen=True, eq=False)
class Reranking:
    """The candidates of one query in their new order.

    Parameters
    ----------
    order : ndarray of shape (k,), int64
        Positions among the candidates, nearest first.
    distances : ndarray of shape (k,), float32
        Energy distances, ascending, aligned with `order`.
    terms : EnergyTerms
        The contributions whose sum is the distance, each (k,), aligned with `order`.
    """

    order: NDArray[np.int64]
    distances: NDArray[np.float32]
    terms: EnergyTerms


@dataclass(frozen=True)
class _Scene:
    """One query and its candidates in the coordinates that rank them."""

    query: torch.Tensor  # (d,)
    rows: torch.Tensor  # (c, d)
    real: torch.Tensor  # (c,) bool, has a direction
    gap_lambda: torch.Tensor  # (c,) term of λ, weighted
    gap_dispersion: torch.Tensor  # (c,) term of G, weighted


class EnergyReranker:
    """Order candidates by energy distance, on a built field or on the candidates alone.

    Parameters
    ----------
    field : EnergyField, optional
        The field of the collection that the candidates come from. Without one, the graph of
        the candidates and the query has to do.
    config : EnergyConfig, optional
        Weights and heats; those of the field if not given, and the default recipe without one.
    device : {"cuda", "mps", "cpu"}, optional
        The best one there is if not given.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> candidates = rng.normal(size=(100, 32))
    >>> result = EnergyReranker().rerank(candidates[7], candidates, k=3)
    >>> int(result.order[0]), result.distances.shape
    (7, (3,))
    """

    def __init__(
        self,
        field: EnergyField | None = None,
        config: EnergyConfig | None = None,
        *,
        device: str | None = None,
    ) -> None:
        if field is not None and not isinstance(field, EnergyField):
            raise InvalidInputError(
                f"field must be an EnergyField or None, got {type(field).__name__}. "
                "Pass index.field, or nothing to rank by the candidates alone."
            )
        self.field = field
        self.config = field.config if field is not None and config is None else as_config(config)
        self.device = str(as_device(device))

    def rerank(
        self,
        query: Any,
        vectors: Any,
        *,
        columns: EnergyColumns | None = None,
        k: int | None = None,
    ) -> Reranking:
        """Order the candidates of one query.

        Parameters
        ----------
        query : array_like of shape (d,) or (1, d)
        vectors : array_like of shape (c, d) or None
            The candidates; None if their columns are given. Only directions count; a row of
            zeros ranks last. No candidates give an empty result.
        columns : EnergyColumns, optional
            The stored columns of the candidates, in their order. Needs a field.
        k : int, optional
            Keep only the k nearest.

        Raises
        ------
        InvalidInputError
            The arguments are not valid, or contradict each other.
        ForeignFieldError
            The columns do not belong to the field.
        """
        limit = None if k is None else as_k(k)
        rows = self._candidates(vectors, columns)
        if rows is None:
            return _nothing()
        dim = rows.shape[1]
        one = as_queries(query, dim, name="query")
        if len(one) != 1:
            raise InvalidInputError(
                f"query must be one vector, got {len(one)}. Use rerank_many for several."
            )
        return self._rank(self._scene(one, rows, columns), limit)

    def rerank_many(
        self, queries: Any, vectors: Sequence[Any], *, k: int | None = None
    ) -> list[Reranking]:
        """Order the candidates of several queries.

        Parameters
        ----------
        queries : array_like of shape (q, d)
        vectors : sequence of q array_like, each of shape (c_i, d)
            The candidates of each query; the numbers may differ.
        k : int, optional
            Keep only the k nearest of each.

        Raises
        ------
        InvalidInputError
            As `rerank`, or there are not as many lists as queries.
        """
        asked = np.asarray(queries)
        if asked.ndim != 2 or len(asked) != len(vectors):
            raise InvalidInputError(
                f"rerank_many got queries of shape {asked.shape} and {len(vectors)} lists of "
                "candidates; expected (q, d) and q lists."
            )
        return [self.rerank(q, each, k=k) for q, each in zip(asked, vectors, strict=True)]

    def _candidates(
        self, vectors: Any, columns: EnergyColumns | None
    ) -> NDArray[np.float32] | torch.Tensor | None:
        """Checked vectors or decoded rows (c, d); None without any candidate."""
        if columns is None:
            if vectors is None:
                raise InvalidInputError("rerank needs vectors or columns, got neither.")
            if np.size(vectors) == 0 and np.ndim(vectors) <= 2:
                return None
            dim = None if self.field is None else self.field.dim
            return as_vectors(vectors, dim=dim)
        if self.field is None:
            raise InvalidInputError(
                "Columns are those of a field: pass it, EnergyReranker(index.field)."
            )
        if vectors is not None and len(vectors) != len(columns):
            raise InvalidInputError(
                f"rerank got {len(vectors)} vectors and the columns of {len(columns)} rows."
            )
        if len(columns) == 0:
            return None
        if not -1 <= int(columns.cell.min()) <= int(columns.cell.max()) < self.field.n_anchors:
            raise ForeignFieldError(
                f"The columns name cells {int(columns.cell.min())} to {int(columns.cell.max())}, "
                f"the field has {self.field.n_anchors}. Read both of the same generation."
            )
        return self.field.projection(self.device).decode(columns.cell, columns.residual)

    def _scene(
        self,
        query: NDArray[np.float32],
        rows: NDArray[np.float32] | torch.Tensor,
        columns: EnergyColumns | None,
    ) -> _Scene:
        if self.field is None:
            return self._alone(query, rows)
        projection = self.field.projection(self.device)
        scalars = self.field.scalars
        energies = Energies(self.config.weights, (scalars.scale_lambda, scalars.scale_dispersion))
        q, real_q = projection.project(query)
        lambda_q, dispersion_q = projection.taumode(q, real_q)
        if columns is None:
            y, real = projection.project(np.asarray(rows))
            lambda_, dispersion = projection.taumode(y, real)
        else:
            y = torch.as_tensor(rows)
            real = torch.from_numpy(columns.cell >= 0).to(y.device)
            lambda_ = torch.from_numpy(columns.lambda_).to(y.device)
            dispersion = torch.from_numpy(columns.dispersion).to(y.device)
        return _Scene(
            q[0],
            y,
            real,
            energies.lambda_term(lambda_q, lambda_),
            energies.dispersion_term(dispersion_q, dispersion),
        )

    def _alone(
        self, query: NDArray[np.float32], rows: NDArray[np.float32] | torch.Tensor
    ) -> _Scene:
        """Coordinates and energies from the candidates alone."""
        where = torch.device(self.device)
        both = torch.from_numpy(np.concatenate([query, np.asarray(rows)])).to(where)
        straight, real = transform(both, both.new_zeros(both.shape[1]), None)
        straight, real_q, y, real = straight[:1], real[:1], straight[1:], real[1:]
        if not real.any():
            zero = y.new_zeros(len(y))
            return _Scene(straight[0], y, real, zero, zero)
        mean = SHARED * y[real].mean(0)
        q = unit(straight - mean) * real_q[:, None]
        y = unit(y - mean) * real[:, None]
        lambda_term = dispersion_term = y.new_zeros(len(y))
        if self.config.weight_lambda > 0 or self.config.weight_dispersion > 0:
            inside = y[real]
            weights, bandwidth = energy_weights(inside, self.config)
            graph = AnchorGraph(inside, weights, bandwidth, self.config.affinity_anchors)
            rough, dispersion = graph.energies(torch.cat([q, y]))
            tau = choose_tau(rough[1:][real], self.config)
            lambda_ = taumode(rough, dispersion, tau, self.config.alpha)
            scales = robust_scale(lambda_[1:][real]), robust_scale(dispersion[1:][real])
            energies = Energies(self.config.weights, scales)
            lambda_term = energies.lambda_term(lambda_[0], lambda_[1:])
            dispersion_term = energies.dispersion_term(dispersion[0], dispersion[1:])
        return _Scene(q[0], y, real, lambda_term, dispersion_term)

    def _rank(self, scene: _Scene, k: int | None) -> Reranking:
        config = self.config
        heat = 1.0 if self.field is None else self.field.scalars.heat
        edges = max(1, len(scene.rows) // 8)  # few candidates must not melt into one
        similarity = joined_similarity(
            scene.query[None],
            scene.rows[None],
            scene.real[None],
            heat=heat * config.local_heat,
            query_heat=heat * config.query_heat,
            neighbours=min(config.local_neighbours, edges),
            query_neighbours=min(config.query_neighbours, edges),
            power=config.weight_power,
        )[0]
        energies = Energies(config.weights, (1.0, 1.0))  # the scales are in the terms already
        terms = [
            torch.where(scene.real, term, worst)
            for term, worst in zip(
                (scene.gap_lambda, scene.gap_dispersion, energies.dirichlet_term(similarity)),
                energies.worst,
                strict=True,
            )
        ]
        total = terms[0] + terms[1] + terms[2]
        order = torch.argsort(total, stable=True)[:k]  # ties keep the order they came in

        def taken(values: torch.Tensor) -> NDArray[np.float32]:
            return values[order].cpu().numpy().astype(np.float32)

        return Reranking(
            order.cpu().numpy(), taken(total), EnergyTerms(*(taken(term) for term in terms))
        )


def _nothing() -> Reranking:
    empty = np.empty(0, dtype=np.float32)
    return Reranking(np.empty(0, dtype=np.int64), empty, EnergyTerms(empty, empty, empty))
