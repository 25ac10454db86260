"""The index: a field, the columns of its rows, and search over them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.codec import scan, sketch
from energy_plugin.energy.codec.codes import code_bytes, drop_planes, plane_bytes
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig, as_config
from energy_plugin.energy.explore.explored import Explored
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit import streaming
from energy_plugin.energy.result import SearchResult, joined
from energy_plugin.energy.search import exhaustive, probing, single
from energy_plugin.energy.search.effort import multiply_adds
from energy_plugin.energy.search.ranking import Prepared
from energy_plugin.energy.search.relevance import relevance
from energy_plugin.energy.search.words import (
    RowScores,
    Words,
    as_weight,
    learned_share,
    words_of,
)
from energy_plugin.energy.upkeep.adding import encode_rows
from energy_plugin.energy.upkeep.maintained import Maintained
from energy_plugin.energy.upkeep.ownership import check_columns
from energy_plugin.neutral import neutral
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_k, as_probe, as_queries, as_relevance, as_rows, as_vectors


class EnergyIndex(Explored, Maintained):
    """Rows of a collection, ranked by energy distance.

    Made by `fit` (from vectors) or `from_columns` (from what a host stored). Vectors are not kept:
    search reads only the residual codes. Only directions count; the length of a vector is ignored.
    """

    @classmethod
    @neutral()
    def fit(
        cls,
        vectors: Any,
        config: EnergyConfig | None = None,
        *,
        show_progress_bar: bool = False,
        device: str | None = None,
        memory_limit: int | str | None = None,
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
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the fit may take beyond `vectors`, which may be
            memory-mapped; see `energy_plugin.energy.fit.streaming`.

        Raises
        ------
        InvalidInputError
            `config` is not an `EnergyConfig`, the device is not available, the limit is too small,
            or see `energy_plugin.validation.as_vectors`.
        """
        field, columns = streaming.fit(
            vectors,
            as_config(config),
            device=device,
            memory_limit=memory_limit,
            show_progress_bar=show_progress_bar,
        )
        return cls(field, columns, device=device)

    @classmethod
    @neutral()
    def from_columns(
        cls, field: EnergyField, columns: EnergyColumns, *, device: str | None = None
    ) -> EnergyIndex:
        """Reopen an index; its rows are numbered 0..n−1 in the order of the columns.

        Raises
        ------
        ForeignFieldError
            The columns do not belong to the field.
        CorruptFieldError
            A code, λ or G is altered.
        """
        check_columns(field, columns)
        return cls(field, columns, device=device)

    @neutral()
    def add(self, vectors: Any) -> NDArray[np.int64]:
        """Add rows; they are searchable at once.

        They are assigned to the current anchors and smoothed with their neighbours' decoded
        vectors. The field and the other rows do not change.

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

    @neutral()
    def remove(self, rows: Any) -> None:
        """Remove rows by number; the other rows keep their numbers.

        Raises
        ------
        InvalidInputError
            A number is unknown or removed already; nothing is removed then.
        """
        self._store.remove(as_rows(rows))

    @neutral()
    def encode(self, vectors: Any) -> EnergyColumns:
        """Columns of new vectors, as `add` would store them, without adding them.

        Raises
        ------
        InvalidInputError
            See `energy_plugin.validation.as_vectors`.
        """
        rows = as_vectors(vectors, dim=self.field.dim)
        with threads_for(multiply_adds(self.field, len(rows), len(self))):
            return replace(encode_rows(self._store, rows), field_id=self.field.fingerprint)

    @neutral()
    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        rows: Any | None = None,
        n_probe: int | Literal["all"] | None = None,
        lexical: Any | None = None,
        lexical_weight: float | None = None,
        min_relevance: float | None = None,
    ) -> SearchResult:
        """The k nearest live rows of each query by energy distance, or by energy and words.

        Parameters
        ----------
        queries : array_like of shape (q, d) or (d,)
        k : int, default 10
            Clipped to the number of rows that pass the filter.
        rows : array_like of int, optional
            Only these rows may be found; numbers that are not live are ignored.
        n_probe : int or "all", optional
            Score the rows of that many nearest cells (more if these have fewer than k rows), or
            every row. The default depends on the number of rows and the configuration.
        lexical : sparse matrix or array_like of shape (q, next_row), optional
            Scores of any other retriever, such as `energy_plugin.lexical.LexicalIndex.scores`: one
            line per query, one column per row number, 0 if nothing matches. They are added to the
            energy, pull the query and flow through its graph. A row found only by these scores can
            rank first. A query without any score is ranked by energy alone.
        lexical_weight : float, optional
            Share of the words, 0 to 1. `lexical_share` learns the best value for a collection; the
            default is a medium value.
        min_relevance : float, optional
            Drop results with a smaller relevance, 0 to 1. Below `result.CUT_OFF`, a result is
            probably unrelated to the query. See `SearchResult.at_least`.

        Returns
        -------
        SearchResult
            Arrays of shape (q, min(k, rows that pass the filter)), or less with `min_relevance`.

        Raises
        ------
        InvalidInputError
            Queries, k, n_probe or the lexical scores are not valid.
        """
        checked = as_queries(queries, self.field.dim)
        k = as_k(k)
        as_probe(n_probe)
        store = self._store
        some = None if rows is None else store.positions(as_rows(rows))
        count = store.open_rows()[0] if some is None else len(some)
        weight = as_weight(lexical_weight)
        least = as_relevance(min_relevance)
        words = None
        if lexical is not None:
            words = words_of(store, lexical, len(checked), weight, some)
        if count == 0:
            return exhaustive.nothing(len(checked))
        with threads_for(multiply_adds(self.field, len(checked), count)):
            if len(checked) == 1:
                matched = words if words is not None and words.some.any() else None
                one = self._single(checked[0], k, some, count, n_probe, words=matched)
                if one is not None:
                    return one if least is None else one.at_least(least)
            prepared = exhaustive.prepare(self._projection, checked)
            if words is None or not words.some.any():
                found = self._ranked(prepared, k, some, count, n_probe)
            else:  # queries that words match by both, the others by energy alone
                groups = [np.flatnonzero(words.some), np.flatnonzero(~words.some)]
                hybrid = replace(prepared.take(groups[0]), words=words.take(groups[0]))
                parts = [self._ranked(hybrid, k, some, count, n_probe)]
                if len(groups[1]):
                    parts.append(self._ranked(prepared.take(groups[1]), k, some, count, n_probe))
                found = joined(parts, np.argsort(np.concatenate(groups)))
            positions = store.numbers.searchsorted(found.ids)
            found = replace(found, relevance=relevance(store, checked, positions))
        return found if least is None else found.at_least(least)

    def _single(
        self,
        query: NDArray[np.float32],
        k: int,
        some: NDArray[np.int64] | None,
        count: int,
        n_probe: int | Literal["all"] | None,
        *,
        words: Words | None,
    ) -> SearchResult | None:
        """The answer to one query by the short way; None where that does not apply."""
        if (n_probe is not None and n_probe != "all") or not single.applies(self._store):
            return None
        exact = n_probe == "all" or self._few(k, count)
        if not exact and not sketch.applies(self._projection):
            return None
        return single.search(self._store, query, k, some, exact=exact, words=words)

    def _few(self, k: int, count: int) -> bool:
        """Whether every one of so many rows is scored exactly."""
        return count <= max(self.field.config.exhaustive_rows, 2 * sketch.candidates(k))

    def _ranked(
        self,
        prepared: Prepared,
        k: int,
        some: NDArray[np.int64] | None,
        count: int,
        n_probe: int | Literal["all"] | None,
    ) -> SearchResult:
        store, cells = self._store, as_probe(n_probe)
        if n_probe == "all" or (n_probe is None and self._few(k, count)):
            allowed = np.flatnonzero(store.alive) if some is None else some
            return exhaustive.exhaustive(store, prepared, k, allowed)
        if n_probe is None and sketch.applies(self._projection):
            return exhaustive.sketched(store, prepared, k, some)
        if n_probe is None and scan.applies(self._projection, store.columns):
            return exhaustive.scanned(store, prepared, k, some)
        return probing.probed(store, prepared, k, some, cells)

    @neutral()
    def lexical_share(self, lexical: RowScores, *, sample: int = 200, seed: int = 0) -> float:
        """The `lexical_weight` that suits this collection, learned without labels.

        A sample of rows is used as queries. If words find the same rows as vectors, vectors rank
        well, and words get a smaller share. Store the number with the words, and learn it again
        after large changes of the collection.

        Parameters
        ----------
        lexical : object with ``scores_of(rows, k)``, such as `LexicalIndex`
            Its rows have the same numbers.
        sample : int, default 200
            Number of rows used as queries.
        seed : int, default 0

        Raises
        ------
        InvalidInputError
            The scores do not fit the rows.
        """
        return learned_share(self._store, lexical, sample, seed)
