"""Ranked rows of a table, and their columns read from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import NAMES, RowFormat
from energy_lancedb.fulltext import SCORE
from energy_lancedb.host import ROWID

if TYPE_CHECKING:
    from energy_plugin.energy import SearchResult

DISTANCE = "_distance"
RELEVANCE = "_relevance"
TERMS = ("_term_lambda", "_term_dispersion", "_term_dirichlet")
LEXICAL_TERM = "_term_lexical"


@dataclass(frozen=True, eq=False)
class Hits:
    """The best rows of several queries, one query after the other; arrays of the same length.

    Parameters
    ----------
    query : ndarray of int32
        Place of the query that each row answers.
    rowids : ndarray of uint64
    numbers : mapping of str to ndarray of float32
        Columns that a search adds, NaN for null.
    energies : list of pyarrow.Array
        The four energy columns, if they were selected.
    """

    query: NDArray[np.int32]
    rowids: NDArray[np.uint64]
    numbers: dict[str, NDArray[np.float32]]
    energies: list[pa.Array]

    def __len__(self) -> int:
        return len(self.rowids)

    @classmethod
    def none(cls, form: RowFormat, names: list[str]) -> Hits:
        """No row, with these columns."""
        floats = np.empty(0, dtype=np.float32)
        energies = [pa.array([], column.type) for column in form.fields()]
        return cls(
            np.empty(0, dtype=np.int32),
            np.empty(0, dtype=np.uint64),
            dict.fromkeys(names, floats),
            energies,
        )

    def take(self, places: NDArray[np.int64]) -> Hits:
        """Those at some places."""
        return replace(
            self,
            query=self.query[places],
            rowids=self.rowids[places],
            numbers={name: values[places] for name, values in self.numbers.items()},
            energies=[array.take(pa.array(places)) for array in self.energies],
        )

    def among(self, rowids: NDArray[np.uint64]) -> Hits:
        """Those of some host rows."""
        return self.take(np.flatnonzero(np.isin(self.rowids, rowids)))

    def window(self, offset: int, limit: int) -> Hits:
        """Of each query `limit` rows after `offset`."""
        starts = np.searchsorted(self.query, self.query)
        rank = np.arange(len(self)) - starts
        return self.take(np.flatnonzero((rank >= offset) & (rank < offset + limit)))


@dataclass(frozen=True)
class Bounds:
    """What a result must have beside its rank; None: anything."""

    relevance: float | None = None  # the least
    lower: float | None = None  # of the distance
    upper: float | None = None  # of the distance, which it must not reach

    def of(self, hits: Hits) -> Hits:
        """Those within."""
        keep = np.ones(len(hits), dtype=bool)
        if self.relevance is not None:
            keep &= hits.numbers[RELEVANCE] >= self.relevance
        if self.lower is not None:
            keep &= hits.numbers[DISTANCE] >= self.lower
        if self.upper is not None:
            keep &= hits.numbers[DISTANCE] < self.upper
        return hits if keep.all() else hits.take(np.flatnonzero(keep))


def names_of(kind: str, *, terms: bool) -> list[str]:
    """Columns that a search by energy adds."""
    names = [DISTANCE, RELEVANCE]
    if terms:
        names += [*TERMS, LEXICAL_TERM] if kind == "hybrid" else TERMS
    return [*names, SCORE] if kind == "hybrid" else names


def numbers_of(result: SearchResult, names: list[str]) -> dict[str, NDArray[np.float32]]:
    """Those of the columns that an index gives."""
    terms = result.terms
    parts = {
        DISTANCE: result.distances,
        RELEVANCE: result.relevance,
        **dict(zip(TERMS, (terms.lambda_, terms.dispersion, terms.dirichlet), strict=True)),
        LEXICAL_TERM: terms.lexical,
    }
    return {name: part.reshape(-1) for name, part in parts.items() if name in names}


def read_rows(table: Any, rowids: NDArray[np.uint64], columns: Any) -> pa.Table | None:
    """Columns of host rows in the given order, which LanceDB does not keep; None if one is gone."""
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


def with_energies(found: pa.Table, names: list[str], energies: list[pa.Array]) -> pa.Table:
    """Add energy columns that `found` lacks and put all columns in the order of `names`."""
    for name, array in zip(NAMES, energies, strict=True):
        if name in names and name not in found.column_names:
            found = found.append_column(name, array)
    return found.select(names)


def with_numbers(found: pa.Table, numbers: dict[str, NDArray[np.float32]]) -> pa.Table:
    """Add columns of float32, null where they are NaN."""
    for name, values in numbers.items():
        found = found.append_column(name, pa.array(values, pa.float32(), mask=np.isnan(values)))
    return found
