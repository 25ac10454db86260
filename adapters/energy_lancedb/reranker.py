"""Energy as a LanceDB reranker."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from lancedb.rerankers import Reranker
from numpy.typing import NDArray

from energy_lancedb.candidates import (
    Scored,
    Words,
    scored_alone,
    scored_by_columns,
    scored_in_field,
    vector_column_of,
)
from energy_lancedb.columns import NAMES
from energy_lancedb.hits import RELEVANCE
from energy_lancedb.host import ROWID
from energy_lancedb.layout import match
from energy_lancedb.live import LiveTable
from energy_lancedb.pointer import Pointer, pointer_of
from energy_lancedb.sync import live_table_of
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.validation import as_k, as_queries

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyField

SCORE = "_relevance_score"
WORDS = "_score"
LEAST = 0.05  # score of the last match of a list that LanceDB has scaled to 0 to 1
QUERY_INDEX = "query_index"
CACHED_QUERIES = 64


class EnergyReranker(Reranker):  # type: ignore[misc,unused-ignore]
    """Order LanceDB's own results by energy distance.

    With the field of a table, candidates are ranked by their own energy columns, from the results
    or read by their ``_rowid``. In these cases all rows are loaded instead: the results have
    neither these columns nor ``_rowid``, the columns are in a companion table
    (``layout="companion"``), rows changed since the last `EnergyTable.refresh`, or candidates come
    from another table, which are scored by their vector. Without a field, the distances are
    measured on a graph of the candidates and the query; the more candidates, the better.

    Parameters
    ----------
    energy : EnergyTable, AsyncEnergyTable, lancedb.table.LanceTable or AsyncTable, optional
        The searched table. Its field is used if it has one, and its embedding function turns the
        text of a query into a vector.
    embed : callable, optional
        Turns the text of a query into its vector, if there is no table or it has no embedding
        function.
    column : str, optional
        Vector column of the results, if there is no field and several columns. For an
        `EnergyTable`, it must be the column of its field.
    top_k : int, optional
        Keep only the best candidates: LanceDB does not apply its limit again after reranking,
        so ``limit(200)`` with ``top_k=10`` ranks 200 and returns 10.
    return_score : {"relevance", "all"}, default "relevance"
        "all" keeps the columns ``_distance`` and ``_score`` of LanceDB's search and, with a field,
        adds ``_relevance``, 0 to 1, as in `EnergyTable.search`.
    lexical_weight : float, optional
        Share of the words in the ranking of full-text and hybrid results, 0 (none) to 1; the
        default suits most tables.
    device : str, optional
        "cuda", "mps" or "cpu" for tables that are not an `EnergyTable` yet.

    Notes
    -----
    ``_relevance_score`` is the negative energy distance. LanceDB passes a reranker the text of a
    query but not its vector, so the text is embedded again (the last 64 vectors are kept). For a
    search by vector, use `for_vector`.

    Examples
    --------
    >>> ranker = EnergyReranker(energy, top_k=10)                          # doctest: +SKIP
    >>> table.search("heat flow").limit(200).rerank(ranker).to_pandas()    # doctest: +SKIP
    >>> table.search(q).limit(200).rerank(ranker.for_vector(q), query_string="")  # doctest: +SKIP

    Raises
    ------
    InvalidInputError
        `column` differs from the column of the `EnergyTable`, or `top_k` is not positive.
    """

    def __init__(
        self,
        energy: Any | None = None,
        *,
        embed: Callable[[str], Any] | None = None,
        column: str | None = None,
        top_k: int | None = None,
        return_score: str = "relevance",
        lexical_weight: float | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(return_score)
        self.energy: LiveTable | None = (
            None if energy is None else live_table_of(energy, column, device)
        )
        if self.energy is not None and column is not None:
            _check_column(self.energy, column)
        self.column = column
        self.device = device
        self.lexical_weight = lexical_weight
        self.top_k = None if top_k is None else as_k(top_k, name="top_k")
        self._vector: NDArray[np.float32] | None = None
        if embed is None and self.energy is not None:
            embed = self.energy.embed_query
        self._embed = None if embed is None else lru_cache(maxsize=CACHED_QUERIES)(embed)

    def for_vector(self, query: Any) -> EnergyReranker:
        """A reranker for one search by vector.

        Parameters
        ----------
        query : array_like of shape (d,) or (q, d)
            The same vector as for `table.search`.
        """
        one = copy.copy(self)
        one._vector = np.array(query, dtype=np.float32)
        return one

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Order the results of a vector search."""
        return self._rerank(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Order the results of a full-text search, by energy and ``_score``."""
        return self._rerank(query, fts_results)

    def rerank_hybrid(
        self, query: str, vector_results: pa.Table, fts_results: pa.Table
    ) -> pa.Table:
        """Order the union of the results of a vector and a full-text search.

        By energy and ``_score``, which LanceDB passes scaled to 0 to 1.
        """
        if fts_results.num_rows == 0:
            return self._rerank(query, vector_results)
        merged = fts_results
        if vector_results.num_rows and self.score == "all":
            merged = _merge_with_scores(vector_results, fts_results)
        elif vector_results.num_rows:  # the numbers of both sides are dropped in the end
            merged = pa.concat_tables([vector_results, fts_results], promote_options="default")
        return self._rerank(query, merged, scaled=True)

    def rerank_multivector(
        self, vector_results: Any, query: str | None = None, deduplicate: bool = True
    ) -> pa.Table:
        """Order the union of the results of several searches for one question.

        Parameters
        ----------
        vector_results : list of pyarrow.Table or of LanceDB's query builders
        query : str, optional
            The question; not needed after `for_vector`.
        deduplicate : bool, default True
            Return a row once if several searches found it; needs ``_rowid`` in the results.

        Raises
        ------
        InvalidInputError
            No results, or rows cannot be told apart.
        """
        results = vector_results if isinstance(vector_results, (list, tuple)) else [vector_results]
        tables = [r if isinstance(r, pa.Table) else r.to_arrow() for r in results]
        if not tables:
            raise InvalidInputError("rerank_multivector got no results, expected one or more.")
        merged = pa.concat_tables(tables, promote_options="default")
        if deduplicate:
            if ROWID not in merged.column_names:
                raise InvalidInputError(
                    f"Rows are told apart by {ROWID!r}, the results have only "
                    f"{merged.column_names}. Add with_row_id(True) to the searches, or pass "
                    "deduplicate=False."
                )
            merged = self._deduplicate(merged)
        return self._rerank(query, merged)

    def _rerank(self, query: str | None, results: pa.Table, *, scaled: bool = False) -> pa.Table:
        if SCORE in results.column_names:
            results = results.drop_columns([SCORE])
        if results.num_rows == 0:
            ranked = results.append_column(SCORE, pa.array([], pa.float32()))
            return self._keep_relevance_score(ranked)
        if self.energy is None:
            parts = self._ranked_parts(query, results, None, scaled=scaled)
        else:
            with self.energy.lock:
                opened = self._opened(results.schema)
                parts = self._ranked_parts(query, results, opened, scaled=scaled)
        return self._keep_relevance_score(pa.concat_tables(parts))

    def _opened(self, schema: pa.Schema) -> tuple[Pointer, EnergyField] | None:
        """The field of the table, if there is one.

        Results that carry the columns of the field in memory say so themselves: the table, whose
        newest version costs a look at the disk, is not asked then.
        """
        assert self.energy is not None
        if set(NAMES) <= set(schema.names):
            held = self.energy.held(pointer_of(schema))
            if held is not None:
                return held
        try:
            return self.energy.opened()
        except NotBuiltError:
            return None

    def _query_vector(self, query: str | None) -> NDArray[np.float32]:
        if self._vector is not None:
            return self._vector
        if self._embed is None or query is None:
            raise InvalidInputError(
                "The reranker does not know the query's vector. Pass for_vector(vector), or give "
                "EnergyReranker a table with an embedding function, or embed=."
            )
        return np.asarray(self._embed(query), dtype=np.float32)

    def _ranked_parts(
        self,
        query: str | None,
        results: pa.Table,
        opened: tuple[Pointer, EnergyField] | None,
        *,
        scaled: bool,
    ) -> list[pa.Table]:
        """The candidates of each query in their order, with their scores."""
        vector = self._query_vector(query)
        if opened is None:
            column = self._column(results)
            dim = int(results.schema.field(column).type.list_size)
        else:
            column, dim = opened[0].vector_column, opened[0].dim
        queries = as_queries(vector, dim, name="query")
        groups = [results]
        if QUERY_INDEX in results.column_names:
            numbers = results[QUERY_INDEX].to_numpy()
            groups = [results.filter(pa.array(numbers == i)) for i in range(numbers.max() + 1)]
        if len(groups) != len(queries):
            raise InvalidInputError(
                f"The results come from {len(groups)} queries, the reranker has "
                f"{len(queries)}. Pass all query vectors of the search to for_vector()."
            )
        parts = []
        for one, group in zip(queries, groups, strict=True):
            words = _words_of(group, self.lexical_weight, scaled=scaled)
            if opened is None:
                found = scored_alone(one, group, column, dim, self.device, words=words)
            else:
                found = self._scored(opened, one[None], group, words)
            order = np.argsort(found.distances, kind="stable")
            if scaled:  # what both sides have found comes once
                order = _first(group[ROWID].to_numpy(), order)
            order = order[: self.top_k]
            part = group.take(pa.array(order))
            if found.relevance is not None:
                part = part.append_column(RELEVANCE, pa.array(found.relevance[order]))
            parts.append(part.append_column(SCORE, pa.array(-found.distances[order])))
        return parts

    def _scored(
        self,
        opened: tuple[Pointer, EnergyField],
        query: NDArray[np.float32],
        results: pa.Table,
        words: Words | None,
    ) -> Scored:
        """By the candidates' own columns, or else by those of all rows."""
        assert self.energy is not None
        wanted = self.score == "all"
        pointer, field = opened
        found = scored_by_columns(
            self.energy, pointer, field, query, results, words=words, relevance=wanted
        )
        if found is not None:
            return found
        # without columns in the results `_opened` has looked at the table
        snapshot = self.energy.snapshot(looked=not set(NAMES) <= set(results.column_names))
        if ROWID not in results.column_names:
            return scored_in_field(snapshot, query, results, words=words, relevance=wanted)
        _, first, places = np.unique(
            results[ROWID].to_numpy(), return_index=True, return_inverse=True
        )
        if words is not None:
            words = Words(words.of(places, len(first)), words.weight)
        once = results.take(pa.array(first))
        return scored_in_field(snapshot, query, once, words=words, relevance=wanted).at(places)

    def _column(self, results: pa.Table) -> str:
        """Vector column of results without a field."""
        column = self.column
        if column is None and self.energy is not None:
            column = self.energy.vector_column()
        return vector_column_of(results, column)


def _check_column(energy: LiveTable, column: str) -> None:
    """Refuse another column than that of the table's field.

    Raises
    ------
    InvalidInputError
    """
    own = energy.vector_column()
    if own != column:
        name = energy.host.name
        raise InvalidInputError(
            f"The energy field of table {name!r} belongs to the vector column {own!r}, got "
            f"column={column!r}. Build one with EnergyTable(table, {column!r}), or pass the "
            "LanceDB table itself to rank the candidates by their own vectors."
        )


def _merge_with_scores(vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
    """Union by ``_rowid`` that keeps ``_distance`` of one side and ``_score`` of the other."""
    names = [n for n in fts_results.column_names if n != WORDS]
    both = pa.concat_tables([vector_results, fts_results.select(names)], promote_options="default")
    _, first = np.unique(both[ROWID].to_numpy(), return_index=True)
    merged = both.take(pa.array(np.sort(first)))
    positions, known = match(
        fts_results[ROWID].to_numpy().astype(np.uint64),
        merged[ROWID].to_numpy().astype(np.uint64),
    )
    scores = fts_results[WORDS].combine_chunks().take(pa.array(positions, mask=~known))
    return merged.append_column(WORDS, scores)


def _first(rowids: NDArray[np.uint64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order without the later ones of equal row ids."""
    _, first = np.unique(rowids[order], return_index=True)
    return order[np.sort(first)]


def _words_of(results: pa.Table, weight: float | None, *, scaled: bool) -> Words | None:
    """Scores of the candidates in a full-text search, where there was one.

    LanceDB hands a hybrid reranker scores from 0 to 1. There the least is lifted above 0, which
    stands for no match at all.
    """
    if WORDS not in results.column_names or weight == 0:
        return None
    scores = results[WORDS].to_numpy(zero_copy_only=False).astype(np.float32)
    matched = ~np.isnan(scores)
    if scaled and matched.any():
        highest = scores[matched].max()
        share = scores / highest if highest > 0 else np.ones_like(scores)
        scores = LEAST + np.float32(1 - LEAST) * share
    return Words(np.where(matched, scores, np.float32(0)), weight)
