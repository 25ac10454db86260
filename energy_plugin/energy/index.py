"""The index: a field, the columns of its rows, and search over them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.codec import sketch
from energy_plugin.energy.codec.codes import (
    code_bytes,
    drop_planes,
    lowered,
    plane_bytes,
    stored_bits,
)
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig, as_config
from energy_plugin.energy.explore import similar
from energy_plugin.energy.explore.rowgraph import RowGraph
from energy_plugin.energy.explore.similar import Neighbours
from energy_plugin.energy.field import EnergyField
from energy_plugin.energy.fit import streaming as passes
from energy_plugin.energy.result import SearchResult, joined
from energy_plugin.energy.search import exhaustive as searching
from energy_plugin.energy.search import probing, single
from energy_plugin.energy.search.effort import multiply_adds
from energy_plugin.energy.search.ranking import Prepared
from energy_plugin.energy.search.relevance import relevance
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.energy.search.words import RowScores, as_weight, learned_share, words_of
from energy_plugin.energy.upkeep import maintenance
from energy_plugin.energy.upkeep.adding import encode_rows
from energy_plugin.energy.upkeep.maintenance import Drift, Maintenance
from energy_plugin.energy.upkeep.ownership import check_columns
from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_k, as_probe, as_queries, as_relevance, as_rows, as_vectors


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
        field, columns = passes.fit(
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

    def __len__(self) -> int:
        return int(self._store.alive.sum())

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the live rows, ascending; (n_live,) int64."""
        return self._store.numbers[self._store.alive]

    @property
    def next_row(self) -> int:
        """Number that the next added row will get; the width of lexical scores."""
        return self._store.next_number

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

    @neutral()
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

    @neutral()
    def remove(self, rows: Any) -> None:
        """Remove rows by number; the numbers of the others stay.

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
            Clipped to the number of rows that may be found.
        rows : array_like of int, optional
            Only these rows may be found; numbers that are not live are ignored.
        n_probe : int or "all", optional
            Score the rows of that many nearest cells, of more where those hold fewer than k, or
            every row. Decided by the number of rows and the configuration if not given.
        lexical : sparse matrix or array_like of shape (q, next_row), optional
            Scores of any other retriever, such as `energy_plugin.lexical.LexicalIndex.scores`:
            a line for each query, a column for each row number, 0 where nothing matches. They
            join the energy, pull the query and flow through its graph, and rows that only they
            find can win. A query without any score is ranked by energy alone.
        lexical_weight : float, optional
            Share of the words, 0 to 1; that of `lexical_share` suits a collection best. A middle
            one if not given.
        min_relevance : float, optional
            Drop those of the k results that have a smaller relevance, 0 to 1; `result.CUT_OFF`
            is where "nothing found" becomes likelier than not. See `SearchResult.at_least`.

        Returns
        -------
        SearchResult
            Arrays of shape (q, min(k, rows that may be found)), or less with `min_relevance`.

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
            return searching.nothing(len(checked))
        with threads_for(multiply_adds(self.field, len(checked), count)):
            if len(checked) == 1 and words is None:
                one = self._single(checked[0], k, some, count, n_probe)
                if one is not None:
                    return one if least is None else one.at_least(least)
            prepared = searching.prepare(self._projection, checked)
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
    ) -> SearchResult | None:
        """The answer to one query by the short way; None where that does not apply."""
        if (n_probe is not None and n_probe != "all") or not single.applies(self._store):
            return None
        exact = n_probe == "all" or self._few(k, count)
        if not exact and not sketch.applies(self._projection):
            return None
        return single.search(self._store, query, k, some, exact=exact)

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
            return searching.exhaustive(store, prepared, k, allowed)
        if n_probe is None and sketch.applies(self._projection):
            return searching.sketched(store, prepared, k, some)
        return probing.probed(store, prepared, k, some, cells)

    @neutral()
    def lexical_share(self, lexical: RowScores, *, sample: int = 200, seed: int = 0) -> float:
        """The `lexical_weight` that suits this collection, learned without labels.

        Rows are asked for as if they were queries: where words find what vectors find, vectors
        rank well and words get a smaller share. Keep the number beside the words and learn it
        again when the collection has changed much.

        Parameters
        ----------
        lexical : object with ``scores_of(rows, k)``, such as `LexicalIndex`
            Its rows have the same numbers.
        sample : int, default 200
            Rows that are asked for.
        seed : int, default 0

        Raises
        ------
        InvalidInputError
            The scores do not fit the rows.
        """
        return learned_share(self._store, lexical, sample, seed)

    @neutral()
    def neighbours(self, row: int, k: int = 10) -> Neighbours:
        """The k live rows nearest to a stored row, without its vector.

        Parameters
        ----------
        row : int
            Number of a live row.
        k : int, default 10
            Clipped to the number of other live rows.

        Returns
        -------
        Neighbours
            ``ids`` and ``distances``, nearest first; the row itself is left out.

        Raises
        ------
        InvalidInputError
            The number is not that of a live row, or k is not positive.
        """
        return similar.neighbours(self._store, row, k)

    @neutral()
    def search_lambda(self, value_or_row: float | int, k: int = 10) -> Neighbours:
        """The k live rows whose λ is nearest to a value, or to that of a row.

        Parameters
        ----------
        value_or_row : float or int
            A float is a λ; an integer is the number of a live row, which is then left out.
        k : int, default 10
            Clipped to the number of rows that can be found.

        Returns
        -------
        Neighbours
            ``distances`` are the gaps in λ, ascending; equal gaps by row number.

        Raises
        ------
        InvalidInputError
            Neither a finite number nor the number of a live row, or k is not positive.
        """
        if isinstance(value_or_row, int | np.integer):
            place = similar.place_of(self._store, value_or_row)
            value = float(self._store.columns.lambda_[place])
            return similar.nearest_in_lambda(self._store, value, k, place)
        if not isinstance(value_or_row, float | np.floating) or not np.isfinite(value_or_row):
            raise InvalidInputError(
                f"value_or_row is {value_or_row!r}, expected a λ as a finite float, or the number "
                "of a live row as an int"
            )
        return similar.nearest_in_lambda(self._store, float(value_or_row), k, None)

    @neutral()
    def duplicates(self, threshold: float = similar.DUPLICATE) -> list[NDArray[np.int64]]:
        """Groups of near-duplicates: rows joined by pairs of at least that similarity.

        Every pair is compared, n²·d operations; memory stays bounded.

        Parameters
        ----------
        threshold : float, default 0.95
            Least inner product of two heated rows in the field's metric, where both have
            unit length. Copies lie just below 1: each has the other among its neighbours.

        Returns
        -------
        list of ndarray of int64
            Row numbers of each group of two or more, ascending; the largest group first.

        Raises
        ------
        InvalidInputError
            A threshold outside (0, 1].
        """
        return similar.duplicates(self._store, threshold)

    @neutral()
    def row_graph(self, k: int = 8) -> RowGraph:
        """The graph of the live rows and the k nearest of each, as it is now.

        For subgraphs around a row, paths between two rows, triangles and cliques.

        Parameters
        ----------
        k : int, default 8
            Neighbours of each row; fewer in small collections.
        """
        return RowGraph.of(self._store, as_k(k))

    @neutral()
    def lower(self, rows: Any, bits: int) -> NDArray[np.int64]:
        """Drop bit planes of some rows; the others keep theirs.

        A code tells its own planes, so that rows of several fidelities share the index. The
        column keeps its width; `codes.drop_planes` narrows it once all rows are lower.

        Parameters
        ----------
        rows : array_like of shape (n,), int
            Row numbers.
        bits : {1, 2, 4, 8}
            Rows that have no more than that stay as they are.

        Returns
        -------
        ndarray of shape (m,), int64
            Numbers of the rows that changed, ascending.

        Raises
        ------
        InvalidInputError
            A number is not that of a live row, or other bits; nothing changes then.
        """
        wanted = np.unique(as_rows(rows))
        positions = self._store.positions(wanted)
        if len(positions) != len(wanted):
            raise InvalidInputError(
                f"{len(wanted) - len(positions)} of {len(wanted)} rows to lower are not in the "
                "index. Nothing was lowered; pass numbers that are in index.rows."
            )
        residual = self._store.columns.residual
        few = lowered(residual[positions], self.field.dim, bits)
        changed = stored_bits(residual[positions], self.field.dim) > bits
        if changed.any():
            self._store.recode(positions[changed], few[changed])
        return self._store.numbers[positions[changed]]

    @neutral()
    def drift(self) -> Drift:
        """How far the live rows have moved from what the field was fitted on.

        Returns
        -------
        Drift
            Near (1, 0) after a fit. A distortion above about 1.3 or a shift above about 1 says
            that a new fit will pay.
        """
        return maintenance.drift(self.field, self.columns)

    @neutral()
    def maintain(self, vectors: Any | None = None) -> Maintenance:
        """Split overloaded cells and merge close ones; codes of their rows are rewritten.

        The field changes (`index.field` is another one, to be stored with the columns of all
        rows), the numbers of the rows do not. Metric and heat stay: `refit` learns them again.

        Parameters
        ----------
        vectors : array_like of shape (n_live, d), optional
            Of the live rows, in the order of `rows`. Without them, codes and λ are made of the
            decoded rows, which costs a little precision each time.

        Returns
        -------
        Maintenance

        Raises
        ------
        InvalidInputError
            `vectors` are not those of the live rows.
        """
        store = self._store
        live = np.flatnonzero(store.alive)
        if vectors is None:
            points = exact = store.decode(live)
        else:
            exact, real = self._projection.project(self._live_vectors(vectors))
            points = maintenance.heated(exact, real, self.field)
        field, columns, report = maintenance.maintain(
            self.field, self._projection, store.columns.take(live), points, exact
        )
        if field is not self.field:
            self.field = field
            self._projection = field.projection(self.device)
            self._store = RowStore(
                self._projection, columns, store.numbers[live], store.next_number
            )
        return report

    @neutral()
    def refit(
        self,
        vectors: Any | None = None,
        config: EnergyConfig | None = None,
        *,
        memory_limit: int | str | None = None,
    ) -> EnergyIndex:
        """A new index of the live rows with a field fitted on them; row numbers are kept.

        Rows that have lost planes do not get them back.

        Parameters
        ----------
        vectors : array_like of shape (n_live, d), optional
            Of the live rows, in the order of `rows`. Without them, they are recovered from the
            decoded rows, which costs a little precision.
        config : EnergyConfig, optional
            That of the present field if not given.
        memory_limit : int or str, optional
            As in `fit`, beyond this index.

        Raises
        ------
        InvalidInputError
            No live rows, or `vectors` are not those of the live rows.
        """
        store = self._store
        live = np.flatnonzero(store.alive)
        if len(live) == 0:
            raise InvalidInputError("The index has no rows to fit a field on. Add rows first.")
        known = maintenance.Recovered(store, live) if vectors is None else vectors
        if memory_limit is None or not hasattr(known, "shape"):
            known = self._live_vectors(known)
        self._check_live(len(known))
        settings = self.field.config if config is None else as_config(config)
        field, columns = passes.fit(
            known, settings, dim=self.field.dim, device=self.device, memory_limit=memory_limit
        )
        bits = stored_bits(store.columns.residual[live], self.field.dim)
        columns = maintenance.keep_fidelity(columns, self.field.dim, bits)
        index = EnergyIndex(field, columns, device=self.device)
        index._store = RowStore(index._projection, columns, store.numbers[live], store.next_number)
        return index

    def _live_vectors(self, vectors: Any) -> NDArray[np.float32]:
        given = as_vectors(vectors, dim=self.field.dim)
        self._check_live(len(given))
        return given

    def _check_live(self, count: int) -> None:
        if count != len(self):
            raise InvalidInputError(
                f"Got {count} vectors for {len(self)} live rows. Pass one for each of index.rows, "
                "in that order."
            )
