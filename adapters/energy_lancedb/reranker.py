"""Energy as a LanceDB reranker."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.rerankers import Reranker
from numpy.typing import NDArray

from energy_lancedb.host import ROWID, vectors_of
from energy_lancedb.layout import match
from energy_lancedb.snapshot import Snapshot
from energy_lancedb.table import EnergyTable
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k, as_queries

SCORE = "_relevance_score"
QUERY_INDEX = "query_index"
CACHED_QUERIES = 64


class EnergyReranker(Reranker):  # type: ignore[misc,unused-ignore]
    """Order LanceDB's own results by the energy distance of a built table.

    Parameters
    ----------
    energy : EnergyTable or lancedb.table.LanceTable
        A table with an energy field. A candidate is recognised by its vector, or else by its
        ``_rowid``; one that is no row of the table is scored from its vector.
    top_k : int, optional
        Keep only the best candidates: LanceDB does not apply its limit again after reranking,
        so ``limit(200)`` with ``top_k=10`` ranks 200 and returns 10.
    return_score : {"relevance", "all"}, default "relevance"
        Whether the columns ``_distance`` and ``_score`` of LanceDB's search stay.

    Notes
    -----
    ``_relevance_score`` is the negative energy distance. LanceDB hands a reranker the text of a
    query and never its vector, so the text is embedded again by the table's embedding function
    (the last 64 are kept). For a search by vector use `for_vector`.

    Examples
    --------
    >>> ranker = EnergyReranker(energy, top_k=10)                          # doctest: +SKIP
    >>> table.search("heat flow").limit(200).rerank(ranker).to_pandas()    # doctest: +SKIP
    >>> table.search(q).limit(200).rerank(ranker.for_vector(q), query_string="")  # doctest: +SKIP
    """

    def __init__(
        self, energy: Any, *, top_k: int | None = None, return_score: str = "relevance"
    ) -> None:
        super().__init__(return_score)
        self.energy = energy if isinstance(energy, EnergyTable) else EnergyTable(energy)
        self.top_k = None if top_k is None else as_k(top_k, name="top_k")
        self._vector: NDArray[np.float32] | None = None
        self._embed = lru_cache(maxsize=CACHED_QUERIES)(self.energy.embed_query)

    def for_vector(self, query: Any) -> EnergyReranker:
        """A reranker for one search by vector.

        Parameters
        ----------
        query : array_like of shape (d,) or (q, d)
            What is given to `table.search`.
        """
        one = copy.copy(self)
        one._vector = np.array(query, dtype=np.float32)
        return one

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """Order the results of a vector search."""
        return self._rerank(query, vector_results)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """Order the results of a full-text search."""
        return self._rerank(query, fts_results)

    def rerank_hybrid(
        self, query: str, vector_results: pa.Table, fts_results: pa.Table
    ) -> pa.Table:
        """Order the union of the results of a vector and a full-text search."""
        if self.score == "all":
            merged = _merge_with_scores(vector_results, fts_results)
        else:
            merged = self.merge_results(vector_results, fts_results)
        return self._rerank(query, merged)

    def _rerank(self, query: str, results: pa.Table) -> pa.Table:
        if SCORE in results.column_names:
            results = results.drop_columns([SCORE])
        if results.num_rows == 0:
            ranked = results.append_column(SCORE, pa.array([], pa.float32()))
            return self._keep_relevance_score(ranked)
        with self.energy.lock:
            parts = self._ranked_parts(query, results)
        return self._keep_relevance_score(pa.concat_tables(parts))

    def _ranked_parts(self, query: str, results: pa.Table) -> list[pa.Table]:
        """The candidates of each query in their order, with their scores."""
        vector = self._vector if self._vector is not None else self._embed(query)
        snapshot = self.energy.snapshot()
        queries = as_queries(vector, snapshot.pointer.dim, name="query")
        groups = [results]
        if QUERY_INDEX in results.column_names:
            numbers = results[QUERY_INDEX].to_numpy()
            groups = [results.filter(pa.array(numbers == i)) for i in range(numbers.max() + 1)]
        if len(groups) != len(queries):
            raise InvalidInputError(
                f"The results are those of {len(groups)} queries, the reranker has "
                f"{len(queries)}. Pass all query vectors of the search to for_vector()."
            )
        parts = []
        for one, group in zip(queries, groups, strict=True):
            distances = self._distances(snapshot, one[None], group)
            order = np.argsort(distances, kind="stable")[: self.top_k]
            scores = pa.array(-distances[order], pa.float32())
            parts.append(group.take(pa.array(order)).append_column(SCORE, scores))
        return parts

    def _distances(
        self, snapshot: Snapshot, queries: NDArray[np.float32], results: pa.Table
    ) -> NDArray[np.float32]:
        """Energy distance of every candidate to one query, (n,)."""
        if results.num_rows == 0:
            return np.empty(0, dtype=np.float32)
        rows, known = self._row_numbers(snapshot, results)
        if not known.all() and snapshot.pointer.vector_column in results.column_names:
            return self._mixed_distances(snapshot, queries, results, rows, known)
        distances = np.full(len(rows), np.inf, dtype=np.float32)  # rows without a vector are last
        if known.any():
            distinct, places = np.unique(rows[known], return_inverse=True)
            found = snapshot.index.search(queries, k=len(distinct), rows=distinct)
            ranked = np.empty(len(distinct), dtype=np.float32)
            ranked[np.searchsorted(distinct, found.ids[0])] = found.distances[0]
            distances[known] = ranked[places]
        return distances

    def _row_numbers(
        self, snapshot: Snapshot, results: pa.Table
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Row number of each candidate, and whether it has one."""
        if snapshot.pointer.vector_column in results.column_names:
            return snapshot.find_vectors(self._vectors(snapshot, results))
        if ROWID in results.column_names:
            return snapshot.find_rowids(results[ROWID].to_numpy().astype(np.uint64))
        raise InvalidInputError(
            f"Candidates have neither {snapshot.pointer.vector_column!r} nor {ROWID!r}, only "
            f"{results.column_names}. Select one, or add with_row_id(True) to the search."
        )

    def _vectors(self, snapshot: Snapshot, results: pa.Table) -> NDArray[np.float32]:
        """Vectors of the candidates, (n, d); zeros where there is none."""
        column = snapshot.pointer.vector_column
        numbered = results.select([column]).append_column(
            ROWID, pa.array(np.arange(results.num_rows), pa.uint64())
        )
        found = vectors_of(numbered, column, snapshot.pointer.dim)
        matrix = np.zeros((results.num_rows, snapshot.pointer.dim), dtype=np.float32)
        matrix[found.rowids.astype(np.int64)] = found.matrix
        return matrix

    def _mixed_distances(
        self,
        snapshot: Snapshot,
        queries: NDArray[np.float32],
        results: pa.Table,
        rows: NDArray[np.int64],
        known: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """As `_distances`, where some candidates are not rows of the table."""
        from energy_plugin.energy import EnergyColumns, EnergyIndex

        unknown = snapshot.index.encode(self._vectors(snapshot, results)[~known])
        columns = EnergyColumns.concat([snapshot.columns_of(rows[known]), unknown])
        index = EnergyIndex.from_columns(snapshot.field, columns, device=snapshot.index.device)
        found = index.search(queries, k=len(columns))
        places = np.concatenate([np.flatnonzero(known), np.flatnonzero(~known)])
        distances = np.full(len(columns), np.inf, dtype=np.float32)
        distances[places[found.ids[0]]] = found.distances[0]
        return distances


def _merge_with_scores(vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
    """Union by ``_rowid`` that keeps ``_distance`` of one side and ``_score`` of the other."""
    names = [n for n in fts_results.column_names if n != "_score"]
    both = pa.concat_tables([vector_results, fts_results.select(names)], promote_options="default")
    _, first = np.unique(both[ROWID].to_numpy(), return_index=True)
    merged = both.take(pa.array(np.sort(first)))
    positions, known = match(
        fts_results[ROWID].to_numpy().astype(np.uint64),
        merged[ROWID].to_numpy().astype(np.uint64),
    )
    scores = fts_results["_score"].combine_chunks().take(pa.array(positions, mask=~known))
    return merged.append_column("_score", scores)
