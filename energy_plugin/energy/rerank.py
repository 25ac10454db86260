"""Order the candidates of any first search by energy distance: arrays in, order out.

========== ===================================================================
q, y_i     query and candidates, (d,) and (c, d), unit length: in the field's coordinates
           (decoded, where their stored columns are given), or as they came without a field
μ          background: the mean of the half of the candidates that is farther from q
q, y_i     normalise(q − βμ), likewise y: what all candidates share tells none apart;
           β = `BACKGROUND`·min(1, c / `MANY`), as few candidates may all be answers;
           on a field `FIELD_BACKGROUND` in its place
y'         normalise(y − η_y(y − Py)), P over the nearest candidates, see `heat`
q'         normalise(q − η_q(q − p·Y')), p over the candidates nearest to q
η_y        `BOTH_WAYS`·local_heat, on a field `FIELD_HEAT` of that, as its metric has done a
           part already; heat flows both ways here, which needs less than one way
η_q        `query_heat`
d          w_λ|Δλ|/s_λ + w_G|ΔG|/s_G + w_D·D(q', y'), see `distance`; λ and G by the field, or
           else by the energy Laplacian over the candidates themselves
========== ===================================================================

Lexical scores join as in a search (`search.hybrid`): scaled similarities and scores choose the
rows that pull the query, scores spread one way to neighbours, and the mixture of both, mapped back
to a similarity, is the one that D is taken of.

No database and no index is needed. Every candidate takes part: there is no pool as in `search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import unit
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig, as_config
from energy_plugin.energy.distance import Energies
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit.heat import smooth, stochastic
from energy_plugin.energy.fit.neighbours import exact_neighbours
from energy_plugin.energy.result import EnergyTerms
from energy_plugin.energy.scene import Scene
from energy_plugin.energy.search.hybrid import PULL
from energy_plugin.energy.search.words import as_lexical, as_weight, default_share, scaled
from energy_plugin.energy.upkeep.ownership import check_columns
from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_device, as_k, as_queries, as_vectors

# Plateaus over five judged collections, cosine's first 100: β .2 to .4, heat .25 to .4 on the
# candidates alone and .15 to .25 on a field. Heat from heated candidates into the query adds
# a third of a percent of nDCG@10 over heat from plain ones.
BACKGROUND = 0.3
MANY = 100
FIELD_BACKGROUND = 0.12  # a field's centring has done a part
FIELD_HEAT = 2 / 3
BOTH_WAYS = 3 / 7


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
class _Words:
    """Scaled lexical scores B of the candidates (c,), and their share β."""

    scores: torch.Tensor
    share: float

    def mixed(
        self, similarity: torch.Tensor, real: torch.Tensor, more: float
    ) -> tuple[torch.Tensor, float, float]:
        """F of the candidates with a direction, and L and S of their similarities."""
        e, low, span = scaled(similarity[None], MANY)
        share = min(1.0, more * self.share)
        return (1 - share) * e[0] + share * self.scores[real], float(low), float(span)


class EnergyReranker:
    """Order candidates by energy distance, on a built field or on the candidates alone.

    Parameters
    ----------
    field : EnergyField, optional
        The field of the collection from which the candidates come. Without one, the graph of the
        candidates and the query is used.
    config : EnergyConfig, optional
        Weights and heats. The default is the configuration of the field; without a field, it is
        the default recipe without the λ term, because a hundred rows are too few to learn λ.
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
                "Pass index.field, or leave it out to rank by the candidates alone."
            )
        self.field = field
        if config is None:
            config = EnergyConfig(weight_lambda=0.0) if field is None else field.config
        self.config = as_config(config)
        self.device = str(as_device(device))

    @neutral()
    def rerank(
        self,
        query: Any,
        vectors: Any,
        *,
        columns: EnergyColumns | None = None,
        k: int | None = None,
        lexical: Any | None = None,
        lexical_weight: float | None = None,
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
        lexical : array_like of shape (c,), optional
            Scores of another retriever, such as a full-text search, at least 0; 0 where no word
            matches. All zeros: energy alone.
        lexical_weight : float, optional
            Share of the words, 0 to 1; the default is a medium value.

        Raises
        ------
        InvalidInputError
            The arguments are not valid, or contradict each other.
        ForeignFieldError, CorruptFieldError
            The columns do not belong to the field, or are altered.
        """
        limit = None if k is None else as_k(k)
        weight = as_weight(lexical_weight)
        rows = self._candidates(vectors, columns)
        if rows is None:
            return _nothing()
        dim = rows.shape[1]
        one = as_queries(query, dim, name="query")
        if len(one) != 1:
            raise InvalidInputError(
                f"query must be one vector, got {len(one)}. Use rerank_many for several."
            )
        anchors = 0 if self.field is None else self.field.n_anchors
        with threads_for(float(len(rows)) * dim * (len(rows) + dim + anchors)):
            if self.field is None:
                scene = Scene.alone(one, np.asarray(rows), self.config, self.device)
            else:
                projection = self.field.projection(self.device)
                scene = Scene.on_field(one, rows, columns, projection, self.config)
            return self._rank(scene, limit, self._words(lexical, weight, scene))

    @neutral()
    def rerank_many(
        self,
        queries: Any,
        vectors: Sequence[Any],
        *,
        k: int | None = None,
        lexical: Sequence[Any] | None = None,
        lexical_weight: float | None = None,
    ) -> list[Reranking]:
        """Order the candidates of several queries.

        Parameters
        ----------
        queries : array_like of shape (q, d)
        vectors : sequence of q array_like, each of shape (c_i, d)
            The candidates of each query; the numbers may differ.
        k : int, optional
            Keep only the k nearest of each.
        lexical : sequence of q array_like, each of shape (c_i,), optional
        lexical_weight : float, optional
            As in `rerank`.

        Raises
        ------
        InvalidInputError
            As `rerank`, or the number of lists differs from the number of queries.
        """
        asked = np.asarray(queries)
        if asked.ndim != 2 or len(asked) != len(vectors):
            raise InvalidInputError(
                f"rerank_many got queries of shape {asked.shape} and {len(vectors)} lists of "
                "candidates; expected (q, d) and q lists."
            )
        scores = [None] * len(asked) if lexical is None else lexical
        if len(scores) != len(asked):
            raise InvalidInputError(
                f"rerank_many got {len(asked)} queries and {len(scores)} lists of lexical scores."
            )
        return [
            self.rerank(q, each, k=k, lexical=found, lexical_weight=lexical_weight)
            for q, each, found in zip(asked, vectors, scores, strict=True)
        ]

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
                "Columns need the field they belong to: EnergyReranker(index.field)."
            )
        if vectors is not None and len(vectors) != len(columns):
            raise InvalidInputError(
                f"rerank got {len(vectors)} vectors and the columns of {len(columns)} rows."
            )
        if len(columns) == 0:
            return None
        check_columns(self.field, columns)
        return self.field.projection(self.device).decode(columns.cell, columns.residual)

    def _words(self, lexical: Any, weight: float | None, scene: Scene) -> _Words | None:
        """Checked scores, scaled; None where no word matches."""
        if lexical is None:
            return None
        flat = np.asarray(lexical)
        if flat.ndim != 1:
            raise InvalidInputError(
                f"lexical must have shape ({len(scene.rows)},), one score for each candidate; got "
                f"{flat.shape}."
            )
        _, places, scores = as_lexical(flat, 1, len(scene.rows))
        if len(places) == 0:
            return None
        every = scene.rows.new_zeros(len(scene.rows))
        every[torch.from_numpy(places).to(every.device)] = torch.from_numpy(scores).to(every.device)
        share = default_share(self.config) if weight is None else weight
        return _Words(scaled(every[None], MANY, least=0.0)[0][0], share)

    def _rank(self, scene: Scene, k: int | None, words: _Words | None) -> Reranking:
        energies = Energies(self.config.weights, (1.0, 1.0))  # the terms are scaled already
        similarity, mixed = self._similarity(scene, words)
        found = (scene.lambda_term, scene.dispersion_term, energies.dirichlet_term(similarity))
        terms = [
            torch.where(scene.real, term, worst)
            for term, worst in zip(found, energies.worst, strict=True)
        ]
        total = terms[0] + terms[1] + terms[2]
        if mixed is not None:
            total = terms[0] + terms[1] + energies.dirichlet_term(mixed)
        order = torch.argsort(total, stable=True)[:k]  # ties keep the order they came in

        def taken(values: torch.Tensor) -> NDArray[np.float32]:
            return values[order].cpu().numpy().astype(np.float32)

        lexical = taken(total - terms[0] - terms[1] - terms[2])
        return Reranking(
            order.cpu().numpy(),
            taken(total),
            EnergyTerms(taken(terms[0]), taken(terms[1]), taken(terms[2]), lexical),
        )

    def _similarity(
        self, scene: Scene, words: _Words | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """⟨q', y'⟩ of the notation table, and its mixture with the words; both (c,).

        Candidates without direction have the similarity 0.
        """
        config, out = self.config, scene.rows.new_zeros(len(scene.rows))
        heat, share, taken = 1.0, 1.0, BACKGROUND
        if self.field is not None:
            heat, share, taken = self.field.scalars.heat, FIELD_HEAT, FIELD_BACKGROUND
        q, y = scene.query[None], unit(scene.rows[scene.real])
        count = len(y)
        if count == 0:
            return out, None if words is None else words.scores
        farther = torch.argsort((y @ q.T)[:, 0], stable=True)[: count // 2]
        if len(farther):
            background = taken * min(1.0, count / MANY) * y[farther].mean(0)
            q, y = unit(q - background), unit(y - background)
        edges = max(1, count // 8)  # few candidates must not melt into one
        near = exact_neighbours(y, min(config.local_neighbours, edges, count - 1))
        heated = smooth(
            y, y, near, share * heat * BOTH_WAYS * config.local_heat, config.weight_power
        )
        known, pulled = (y @ q.T)[:, 0], heat * config.query_heat
        if words is not None:
            known = words.mixed(known, scene.real, PULL)[0]
            pulled = heat * config.lexical_heat
        pull = known.topk(min(config.query_neighbours, edges))
        weights = stochastic(pull.values, config.weight_power)
        q = unit(q - pulled * (weights.sum() * q - weights @ heated[pull.indices]))
        similarity = (heated @ q.T)[:, 0]
        out[scene.real] = similarity
        if words is None:
            return out, None
        f, low, span = words.mixed(similarity, scene.real, 1.0)
        own = words.scores[scene.real]
        around = stochastic((y[near] * y[:, None]).sum(2), config.weight_power)  # (c, k)
        warmer = ((around * own[near]).sum(1) - own * around.sum(1)).clamp_min(0)
        mixture = words.share * words.scores
        mixture[scene.real] = f + words.share * heat * config.lexical_flow * warmer
        return out, low + (span if span > 0 else 1.0) * mixture


def _nothing() -> Reranking:
    empty = np.empty(0, dtype=np.float32)
    return Reranking(np.empty(0, dtype=np.int64), empty, EnergyTerms(empty, empty, empty, empty))
