"""A search by energy, with the habits of LanceDB's query builder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import NAMES, RowFormat
from energy_lancedb.host import ROWID
from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.validation import as_k, as_queries

if TYPE_CHECKING:
    from energy_lancedb.live import LiveTable
    from energy_lancedb.pointer import Pointer
    from energy_lancedb.snapshot import Snapshot
    from energy_plugin.energy import SearchWork

DISTANCE = "_distance"
TERMS = ("_term_lambda", "_term_dispersion", "_term_dirichlet")
DEFAULT_LIMIT = 10
ATTEMPTS = 15  # rows may be deleted or replaced between ranking and reading them


class EnergyQuery:
    """A search that runs when a result is asked for.

    Made by `EnergyTable.search`. Results are ordered by energy distance, which is the column
    ``_distance``. Without `select` they hold every column but the energy columns; those can be
    selected by name, and are then right also for rows that wait for `EnergyTable.refresh`. An
    SQL expression, in `select` or `where`, reads what is stored: null or former values there.

    Parameters
    ----------
    energy : LiveTable
    query : str, list of str, or array_like of shape (d,) or (q, d)
    vector_column_name : str, optional
    """

    def __init__(
        self, energy: LiveTable, query: Any, vector_column_name: str | None = None
    ) -> None:
        if query is None:
            raise InvalidInputError(
                "query must be a text or a vector, got None. "
                "To read rows without ranking use table.search()."
            )
        query = _plain(query)
        self._energy = energy
        self._query = query
        self._column = vector_column_name
        self._filters: list[Any] = []
        self._selected: list[str] | dict[str, Any] | None = None
        self._limit = DEFAULT_LIMIT
        self._offset = 0
        self._probes: int | None = None
        self._row_id = False
        self._terms = False
        self._reranker: Any | None = None
        self._query_string: str | None = query if isinstance(query, str) else None
        self.work: SearchWork | None = None
        """After a run: cells probed and rows scored, each (q,)."""

    # -- the builder

    def where(self, where: Any, prefilter: bool | None = None) -> EnergyQuery:
        """Rank only rows that match an SQL condition; several calls are joined by AND.

        The condition is applied before ranking, so that the result has `limit` rows whenever
        that many match.

        Parameters
        ----------
        where : str or lancedb.expr.Expr
        prefilter : bool, optional
            For LanceDB's sake; filters always come before ranking.

        Raises
        ------
        InvalidInputError
            `prefilter` is False.
        """
        if prefilter is not None and not prefilter:
            raise InvalidInputError(
                "prefilter=False is not supported: an energy search always filters before it "
                "ranks. Leave it out, or filter the result."
            )
        self._filters.append(where)
        return self

    def select(self, columns: list[str] | dict[str, Any]) -> EnergyQuery:
        """Return these columns, or ``{name: SQL expression}``; ``_distance`` always comes along."""
        if not isinstance(columns, (list, dict)):
            raise InvalidInputError(
                f"columns must be a list of names or a dict of expressions, got {columns!r}."
            )
        self._selected = columns
        return self

    def limit(self, limit: int) -> EnergyQuery:
        """Return at most this many rows (a query, if there are several); 10 by default."""
        self._limit = as_k(limit, name="limit")
        return self

    def offset(self, offset: int) -> EnergyQuery:
        """Leave out the first rows."""
        self._offset = max(0, int(offset or 0))
        return self

    def nprobes(self, nprobes: int) -> EnergyQuery:
        """Score the rows of that many nearest cells; decided by the configuration if not given.

        More cells cost time and find more; a result has `limit` rows in any case where that
        many match.
        """
        self._probes = as_k(nprobes, name="nprobes")
        return self

    def with_row_id(self, with_row_id: bool = True) -> EnergyQuery:
        """Return ``_rowid`` too."""
        self._row_id = with_row_id
        return self

    def with_terms(self, with_terms: bool = True) -> EnergyQuery:
        """Return the three terms that add up to the distance.

        They are ``_term_lambda``, ``_term_dispersion`` and ``_term_dirichlet``.
        """
        self._terms = with_terms
        return self

    def rerank(self, reranker: Any, query_string: str | None = None) -> EnergyQuery:
        """Hand the result to one of LanceDB's rerankers, with the text of the query."""
        self._reranker = reranker
        if query_string is not None:
            self._query_string = query_string
        if self._query_string is None:
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
            The query has another dimension than the table, or is not finite.
        ValueError
            LanceDB's, for an unknown column or a malformed condition.
        """
        energy = self._energy
        snapshot = energy.snapshot()
        queries = self._vectors(snapshot.pointer)
        for attempt in range(ATTEMPTS):
            with energy.lock:
                if attempt or not energy.is_current(snapshot):  # another thread went on
                    snapshot = energy.snapshot()
                hits = self._rank(snapshot, queries)
            fetched = self._fetch(snapshot, hits)
            if fetched is not None or attempt + 1 == ATTEMPTS:
                break
        if fetched is None:
            raise RuntimeError(
                f"Table {self._energy.host.name!r} changed {ATTEMPTS} times during one search. "
                "Search again."
            )
        if self._reranker is not None:
            fetched = self._reranker.rerank_vector(self._query_string, fetched)
        return fetched

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

    def _vectors(self, pointer: Pointer) -> NDArray[np.float32]:
        """Queries as vectors, (q, d)."""
        energy = self._energy
        if self._column is not None and self._column != pointer.vector_column:
            raise NotBuiltError(
                f"The energy field of table {energy.host.name!r} belongs to the vector column "
                f"{pointer.vector_column!r}, not to {self._column!r}. Use table.search for "
                "that column, or build a field on it."
            )
        query = self._query
        if isinstance(query, list) and query and all(_is_source(one) for one in query):
            query = np.stack([energy.embed_query(one) for one in query])
        elif not isinstance(query, (list, tuple, np.ndarray)) and not hasattr(query, "__array__"):
            query = energy.embed_query(query)
        return as_queries(query, pointer.dim, name="query")

    def _several(self) -> bool:
        query = self._query
        if isinstance(query, str):
            return False
        if isinstance(query, (list, tuple)):
            return len(query) > 0 and (_is_source(query[0]) or np.ndim(query[0]) == 1)
        return np.ndim(query) == 2

    def _rank(self, snapshot: Snapshot, queries: NDArray[np.float32]) -> _Hits:
        """The best rows of each query, `limit` of them after `offset`."""
        rows = None
        if self._filters:
            matching = self._energy.host.scan([], self._filters)[ROWID].to_numpy()
            found, known = snapshot.find_rowids(matching.astype(np.uint64))
            rows = found[known]
        if len(snapshot) == 0 or (rows is not None and len(rows) == 0):
            return _Hits.none(snapshot.pointer.format)
        result = snapshot.index.search(
            queries, k=self._limit + self._offset, rows=rows, n_probe=self._probes
        )
        self.work = result.work
        cut = slice(self._offset, self._offset + self._limit)
        parts = (result.terms.lambda_, result.terms.dispersion, result.terms.dirichlet)
        ids = result.ids[:, cut].reshape(-1)
        energies: list[pa.Array] = []
        if self._projection(snapshot.pointer)[1] is not None:
            energies = snapshot.pointer.format.to_arrow(
                snapshot.columns_of(ids), snapshot.fingerprints[ids]
            )
        return _Hits(
            each=result.ids[:, cut].shape[1],
            rowids=snapshot.rowids[ids],
            distances=result.distances[:, cut].reshape(-1),
            terms=tuple(part[:, cut].reshape(-1) for part in parts),
            energies=energies,
        )

    def _fetch(self, snapshot: Snapshot, hits: _Hits) -> pa.Table | None:
        """Read the rows' columns; None if a row has gone in the meantime."""
        plain, columns = self._projection(snapshot.pointer)
        found = self._take(hits.rowids, plain)
        if found is None:
            return None
        if columns is not None:
            found = _with_energies(found, columns, hits.energies)
        found = found.append_column(DISTANCE, pa.array(hits.distances, pa.float32()))
        if self._row_id:
            found = found.append_column(ROWID, pa.array(hits.rowids, pa.uint64()))
        if self._terms:
            for name, values in zip(TERMS, hits.terms, strict=True):
                found = found.append_column(name, pa.array(values, pa.float32()))
        if self._several():
            numbers = np.arange(len(hits.rowids)) // max(hits.each, 1)
            found = found.add_column(0, "query_index", pa.array(numbers, pa.int32()))
        return found

    def _projection(self, pointer: Pointer) -> tuple[Any, list[str] | None]:
        """What to ask LanceDB for, and the order of the columns if energy columns are in it."""
        energies = self._energy_names(pointer)
        if self._selected is None:
            names = self._energy.host.schema.names
            return [name for name in names if name not in energies], None
        if isinstance(self._selected, dict):
            return self._selected, None
        wanted = list(dict.fromkeys(name for name in self._selected if name != DISTANCE))
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

    def _take(self, rowids: NDArray[np.uint64], columns: Any) -> pa.Table | None:
        """Columns of host rows in the given order, which LanceDB does not keep."""
        table = self._energy.host.table
        if len(rowids) == 0:
            none = table.search().where("false").select(columns)
            return none.to_arrow() if columns else pa.table({})
        unique, places = np.unique(rowids, return_inverse=True)
        query = table.take_row_ids(unique.tolist())
        found = query.select(columns or [ROWID]).with_row_id().to_arrow()
        if found.num_rows < len(unique):
            return None
        order = np.argsort(found[ROWID].to_numpy(), kind="stable")[places]
        return found.take(pa.array(order)).drop_columns([ROWID])


def _is_source(one: Any) -> bool:
    """Whether one of several queries is a text or an image, and no vector."""
    return isinstance(one, str) or (hasattr(one, "convert") and hasattr(one, "size"))


def _plain(query: Any) -> Any:
    """Texts of any make as str or a list of str; anything else as it is."""
    if isinstance(query, str):
        return str(query)  # numpy's own strings pass for arrays
    if isinstance(query, np.ndarray) and query.dtype.kind in "USO":
        query = query.tolist()
    if isinstance(query, (list, tuple)) and any(isinstance(item, str) for item in query):
        return [str(item) if isinstance(item, str) else item for item in query]
    return query


@dataclass(frozen=True, eq=False)
class _Hits:
    """The best rows of q queries, `each` of them a query, one query after the other."""

    each: int
    rowids: NDArray[np.uint64]
    distances: NDArray[np.float32]
    terms: tuple[NDArray[np.float32], ...]
    energies: list[pa.Array]  # the four columns, if they were selected

    @classmethod
    def none(cls, form: RowFormat) -> _Hits:
        floats = np.empty(0, dtype=np.float32)
        rowids = np.empty(0, dtype=np.uint64)
        energies = [pa.array([], column.type) for column in form.fields()]
        return cls(0, rowids, floats, (floats, floats, floats), energies)


def _with_energies(found: pa.Table, names: list[str], energies: list[pa.Array]) -> pa.Table:
    """Add energy columns that `found` lacks and put all columns in the order of `names`."""
    for name, array in zip(NAMES, energies, strict=True):
        if name in names and name not in found.column_names:
            found = found.append_column(name, array)
    return found.select(names)
