"""A search by energy, with the habits of LanceDB's query builder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.asked import Asked
from energy_lancedb.columns import NAMES, refuse_expressions
from energy_lancedb.fulltext import LEXICAL_ROWS, SCORE, Matches
from energy_lancedb.hits import (
    DISTANCE,
    RELEVANCE,
    Bounds,
    Hits,
    names_of,
    numbers_of,
    read_rows,
    with_energies,
    with_numbers,
)
from energy_lancedb.host import ROWID
from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k, as_relevance

if TYPE_CHECKING:
    from energy_lancedb.live import LiveTable
    from energy_lancedb.pointer import Pointer
    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import SearchWork

DEFAULT_LIMIT = 10
ATTEMPTS = 15  # rows may be deleted or replaced between ranking and reading them


class EnergyQuery:
    """A search that runs when a result is asked for.

    Made by `EnergyTable.search`. Results are ordered by energy distance, the column ``_distance``;
    ``_relevance``, 0 to 1, says how likely a row is related to the question. A hybrid search adds
    ``_score`` of the full-text search, null if no word matches. A full-text search is LanceDB's
    own, ordered by ``_score`` alone. Without `select`, results have every column except the energy
    columns. You can select these by name; they are up to date even for rows changed since the last
    `refresh`. An SQL expression reads the stored columns (``layout="columns"``).

    Parameters
    ----------
    energy : LiveTable
    query : str, list of str, array_like of shape (d,) or (q, d), or None
    vector_column_name, query_type, fts_columns, lexical_weight
        See `EnergyTable.search`.
    """

    def __init__(
        self,
        energy: LiveTable,
        query: Any,
        vector_column_name: str | None = None,
        *,
        query_type: str = "auto",
        fts_columns: str | Sequence[str] | None = None,
        lexical_weight: float | None = None,
    ) -> None:
        self._energy = energy
        self._asked = Asked(query, query_type, vector_column_name)
        self._fts_columns = fts_columns
        self._weight = lexical_weight
        self._filters: list[Any] = []
        self._prefilter = True
        self._selected: list[str] | dict[str, Any] | None = None
        self._limit = DEFAULT_LIMIT
        self._offset = 0
        self._probes: int | None = None
        self._row_id = False
        self._terms = False
        self._bounds = Bounds()
        self._reranker: Any | None = None
        self._query_string: str | None = None
        self.work: SearchWork | None = None
        """After a run: cells probed and rows scored, each (q,)."""

    # -- the builder

    def vector(self, vector: Any) -> EnergyQuery:
        """Set the vector of a hybrid search; array_like of shape (d,) or (q, d)."""
        self._asked.set_vector(vector)
        return self

    def text(self, text: Any) -> EnergyQuery:
        """Set the words of a hybrid search; a str, or a full-text query object of LanceDB's."""
        self._asked.set_text(text)
        return self

    def where(self, where: Any, prefilter: bool | None = None) -> EnergyQuery:
        """Keep rows that match an SQL condition; several calls are joined by AND.

        Parameters
        ----------
        where : str or lancedb.expr.Expr
        prefilter : bool, optional
            True, the default: only matching rows are ranked. False, as in LanceDB: rows that do
            not match are removed from the first `limit` (and `offset`) rows.
        """
        self._filters.append(where)
        if prefilter is not None:
            self._prefilter = bool(prefilter)
        return self

    def select(self, columns: list[str] | dict[str, Any]) -> EnergyQuery:
        """Return these columns, or ``{name: SQL expression}``; ``_distance`` is always included."""
        if not isinstance(columns, (list, dict)):
            raise InvalidInputError(
                f"columns must be a list of names or a dict of expressions, got {columns!r}."
            )
        self._selected = columns
        return self

    def limit(self, limit: int) -> EnergyQuery:
        """Return at most this many rows (per query, if there are several); 10 by default."""
        self._limit = as_k(limit, name="limit")
        return self

    def offset(self, offset: int) -> EnergyQuery:
        """Leave out the first rows."""
        self._offset = max(0, int(offset or 0))
        return self

    def nprobes(self, nprobes: int) -> EnergyQuery:
        """Score the rows of that many nearest cells; by default, the configuration decides.

        More cells take more time and find more rows.
        """
        self._probes = as_k(nprobes, name="nprobes")
        return self

    def min_relevance(self, least: float) -> EnergyQuery:
        """Leave out rows with a smaller ``_relevance``, 0 to 1; see "How to read the numbers"."""
        self._bounds = replace(self._bounds, relevance=as_relevance(least))
        return self

    def distance_range(
        self, lower_bound: float | None = None, upper_bound: float | None = None
    ) -> EnergyQuery:
        """Only rows whose energy distance is in [lower, upper), as in LanceDB."""
        self._bounds = replace(self._bounds, lower=lower_bound, upper=upper_bound)
        return self

    def with_row_id(self, with_row_id: bool = True) -> EnergyQuery:
        """Return ``_rowid`` too."""
        self._row_id = with_row_id
        return self

    def with_terms(self, with_terms: bool = True) -> EnergyQuery:
        """Return the terms that add up to the distance.

        ``_term_lambda``, ``_term_dispersion``, ``_term_dirichlet``; for words ``_term_lexical``.
        """
        self._terms = with_terms
        return self

    def rerank(self, reranker: Any, query_string: str | None = None) -> EnergyQuery:
        """Pass the result to one of LanceDB's rerankers, with the text of the query.

        A hybrid search passes two lists: by energy without words, and by words.
        """
        self._reranker = reranker
        text = self._asked.text
        self._query_string = query_string if query_string is not None else self._query_string
        if self._query_string is None and isinstance(text, str):
            self._query_string = text
        if self._query_string is None and self._asked.kind != "hybrid":
            raise InvalidInputError(
                "rerank needs the text of the query; pass query_string= when searching by vector."
            )
        return self

    # -- results

    def to_arrow(self) -> pa.Table:
        """Run the search; an Arrow table.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `EnergyTable.field`.
        InvalidInputError
            The dimension of the query differs from that of the table, or the query is not finite.
        ValueError
            LanceDB's, for an unknown column or a malformed condition.
        """
        energy = self._energy
        snapshot = energy.view()
        if beside := self._energy_names(snapshot.pointer) - set(energy.host.schema.names):
            asked = self._selected.values() if isinstance(self._selected, dict) else ()
            refuse_expressions([*self._filters, *asked], beside)
        kind = self._asked.resolved(energy)
        if self._reranker is None:
            return self._found(snapshot, kind, self._offset, self._limit)
        if kind != "hybrid":
            found = self._found(snapshot, kind, self._offset, self._limit)
            by = self._reranker.rerank_fts if kind == "fts" else self._reranker.rerank_vector
            return by(self._query_string, found)
        return self._fused(snapshot)

    def to_batches(self, batch_size: int | None = None) -> pa.RecordBatchReader:
        """Run the search; a reader of record batches."""
        return self.to_arrow().to_reader(max_chunksize=batch_size)

    def to_list(self) -> list[dict[str, Any]]:
        """Run the search; a list of dictionaries."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def to_pandas(self, **options: Any) -> Any:
        """Run the search; a pandas DataFrame. Options go to `pyarrow.Table.to_pandas`.

        Raises
        ------
        OptionalDependencyError
            pandas is not installed.
        """
        optional("pandas")
        return self.to_arrow().to_pandas(**options)

    def to_polars(self) -> Any:
        """Run the search; a polars DataFrame.

        Raises
        ------
        OptionalDependencyError
            polars is not installed.
        """
        return optional("polars").from_arrow(self.to_arrow())

    def to_pydantic(self, model: Any) -> list[Any]:
        """Run the search; instances of a LanceModel."""
        return [model(**row) for row in self.to_list()]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_list())

    # -- steps

    def _found(self, snapshot: Snapshot, kind: str, offset: int, limit: int) -> pa.Table:
        """The rows of one kind of search."""
        energy = self._energy
        queries = None if kind == "fts" else self._asked.vectors(energy, snapshot.pointer)
        for attempt in range(ATTEMPTS):
            words = [] if kind == "vector" else self._matches(offset + limit, kind)
            with energy.lock:
                if attempt or not energy.is_current(snapshot):  # another thread went on
                    snapshot = energy.snapshot()
                if queries is None:
                    hits = self._by_words(snapshot, words)
                else:
                    every = self._bounds.lower is not None  # the nearest are left out
                    count = max(len(snapshot), 1) if every else offset + limit
                    hits = self._bounds.of(self._rank(snapshot, queries, words, kind, count))
                if not self._prefilter and self._filters:
                    hits = hits.among(self._matching())
            found = self._fetch(snapshot, hits.window(offset, limit))
            if found is not None:
                return found
        raise RuntimeError(
            f"Table {self._energy.host.name!r} changed {ATTEMPTS} times during one search. "
            "Search again."
        )

    def _fused(self, snapshot: Snapshot) -> pa.Table:
        """A hybrid search whose two lists another reranker joins."""
        asked, self._row_id = self._row_id, True
        count = self._offset + self._limit
        try:
            lists = [self._found(snapshot, kind, 0, count) for kind in ("vector", "fts")]
        finally:
            self._row_id = asked
        text = self._query_string if self._query_string is not None else self._asked.texts()[0]
        found: pa.Table = self._reranker.rerank_hybrid(text, *lists)  # type: ignore[union-attr]
        found = found.slice(self._offset, self._limit)
        return found if asked or ROWID not in found.column_names else found.drop_columns([ROWID])

    def _matches(self, count: int, kind: str) -> list[Matches]:
        """What the full-text search finds for each question."""
        most = count if kind == "fts" else max(LEXICAL_ROWS, count)
        filters = self._filters if self._prefilter else []
        ask = self._energy.full_text.find
        return [ask(text, self._fts_columns, filters, most) for text in self._asked.texts()]

    def _matching(self) -> NDArray[np.uint64]:
        """Host rows that pass the filters."""
        found = self._energy.host.scan([], self._filters)
        return found[ROWID].to_numpy().astype(np.uint64)

    def _rank(
        self,
        snapshot: Snapshot,
        queries: NDArray[np.float32],
        words: list[Matches],
        kind: str,
        count: int,
    ) -> Hits:
        """The best `count` rows of each query by energy."""
        rows, names = None, names_of(kind, terms=self._terms)
        if self._filters and self._prefilter:
            found, known = snapshot.find_rowids(self._matching())
            rows = found[known]
        lexical = None
        if kind == "hybrid":
            if len(words) not in (1, len(queries)):
                raise InvalidInputError(
                    f"A hybrid search got {len(queries)} vectors and {len(words)} texts; expected "
                    "one text per vector, or one for all."
                )
            lexical = snapshot.lexical(words * (len(queries) // len(words)))
        if len(snapshot) == 0 or (rows is not None and len(rows) == 0):
            return Hits.none(snapshot.pointer.format, names)
        result = snapshot.index.search(
            queries,
            k=count,
            rows=rows,
            n_probe=self._probes,
            lexical=lexical,
            lexical_weight=self._weight,
        )
        self.work = result.work
        q, each = result.ids.shape
        ids = result.ids.reshape(-1)
        numbers = numbers_of(result, names)
        of = np.repeat(np.arange(q, dtype=np.int32), each)
        if lexical is not None:
            scores = np.asarray(lexical[of, ids]).reshape(-1).astype(np.float32)
            numbers[SCORE] = np.where(scores > 0, scores, np.float32(np.nan))
        return Hits(of, snapshot.rowids[ids], numbers, self._energies(snapshot, ids))

    def _by_words(self, snapshot: Snapshot, words: list[Matches]) -> Hits:
        """The rows of a full-text search as they come."""
        rowids = np.concatenate([one.rowids for one in words])
        of = np.repeat(np.arange(len(words), dtype=np.int32), [len(one.rowids) for one in words])
        energies: list[pa.Array] = []
        if self._projection(snapshot.pointer)[1] is not None:
            numbers, known = snapshot.find_rowids(rowids)
            arrays = self._energies(snapshot, numbers[known])
            picks = pa.array(np.cumsum(known) - 1, mask=~known)  # no vector, no energy
            energies = [array.take(picks) for array in arrays]
        scores = np.concatenate([one.scores for one in words])
        return Hits(of, rowids, {SCORE: scores}, energies)

    def _energies(self, snapshot: Snapshot, ids: NDArray[np.int64]) -> list[pa.Array]:
        """Energy columns of row numbers, if they were selected."""
        if self._projection(snapshot.pointer)[1] is None:
            return []
        columns, prints = snapshot.columns_of(ids), snapshot.fingerprints[ids]
        return snapshot.pointer.format.to_arrow(columns, prints)

    def _fetch(self, snapshot: Snapshot, hits: Hits) -> pa.Table | None:
        """Read the rows' columns; None if a row has gone in the meantime."""
        plain, columns = self._projection(snapshot.pointer)
        found = read_rows(self._energy.host.table, hits.rowids, plain)
        if found is None:
            return None
        if columns is not None:
            found = with_energies(found, columns, hits.energies)
        shown = dict(hits.numbers)
        for name in (DISTANCE, RELEVANCE, SCORE):
            if name in shown:
                found = with_numbers(found, {name: shown.pop(name)})
        if self._row_id:
            found = found.append_column(ROWID, pa.array(hits.rowids, pa.uint64()))
        found = with_numbers(found, shown)
        if self._asked.several():
            found = found.add_column(0, "query_index", pa.array(hits.query, pa.int32()))
        return found

    def _projection(self, pointer: Pointer) -> tuple[Any, list[str] | None]:
        """What to ask LanceDB for, and the order of the columns if energy columns are in it."""
        energies = self._energy_names(pointer)
        if self._selected is None:
            names = self._energy.host.schema.names
            return [name for name in names if name not in energies], None
        if isinstance(self._selected, dict):
            return self._selected, None
        added = (DISTANCE, RELEVANCE, SCORE)
        wanted = list(dict.fromkeys(name for name in self._selected if name not in added))
        if ROWID in wanted:
            wanted.remove(ROWID)
            self._row_id = True
        plain = [name for name in wanted if name not in energies]
        return plain, wanted if len(plain) < len(wanted) else None

    def _energy_names(self, pointer: Pointer) -> set[str]:
        """The names that mean energy columns: not those of a user's own columns."""
        if pointer.layout == "columns":
            return set(NAMES)
        return set(NAMES) - set(self._energy.host.schema.names)
