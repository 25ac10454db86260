"""Energy of candidates that LanceDB's own search has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import NAMES, is_vector
from energy_lancedb.host import ROWID, Host, prints_of, vectors_of
from energy_lancedb.live import LiveTable
from energy_lancedb.pointer import Pointer, pointer_of
from energy_lancedb.snapshot import Snapshot
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField


@dataclass(frozen=True, eq=False)
class Scored:
    """What candidates are ranked by; (n,) each, float32.

    Parameters
    ----------
    distances : ndarray
        Infinite for rows without a vector.
    relevance : ndarray, optional
        0 for rows without a vector; None where it was not asked for, or without a field.
    """

    distances: NDArray[np.float32]
    relevance: NDArray[np.float32] | None = None

    def at(self, places: NDArray[np.int64]) -> Scored:
        """Of candidates, each of which is one of these; those at −1 are without a vector."""
        if len(self.distances) == 0:
            last = np.full(len(places), np.inf, dtype=np.float32)
            return Scored(last, None if self.relevance is None else np.zeros_like(last))
        known = places >= 0
        relevance = None
        if self.relevance is not None:
            relevance = np.where(known, self.relevance[places], np.float32(0))
        return Scored(np.where(known, self.distances[places], np.float32(np.inf)), relevance)


@dataclass(frozen=True, eq=False)
class Words:
    """What a full-text search gave the candidates.

    Parameters
    ----------
    scores : ndarray of shape (n,), float32
        0 where no word matches.
    weight : float, optional
        Share of the words.
    """

    scores: NDArray[np.float32]
    weight: float | None = None

    def of(self, places: NDArray[np.int64], n: int) -> NDArray[np.float32]:
        """The best score of the candidates at each of n places; −1: at none."""
        best = np.zeros(n, dtype=np.float32)
        placed = places >= 0
        np.maximum.at(best, places[placed], self.scores[placed])
        return best


def vector_column_of(results: pa.Table, name: str | None) -> str:
    """Vector column of results; the only one there is, without a name.

    Raises
    ------
    InvalidInputError
        No such column, or several to choose from.
    """
    found = [column.name for column in results.schema if is_vector(column.type)]
    if name is None and len(found) == 1:
        return found[0]
    if name is None or name not in found:
        wanted = "a vector column" if name is None else f"the vector column {name!r}"
        raise InvalidInputError(
            f"Without an energy field candidates are ranked by their vectors; expected {wanted}, "
            f"the results have {found} among {results.column_names}. Select it in the search, or "
            "name it: EnergyReranker(column=...)."
        )
    return name


def vectors_in(results: pa.Table, column: str, dim: int) -> NDArray[np.float32]:
    """Vectors of the candidates, (n, d); zeros where there is none."""
    numbered = results.select([column]).append_column(
        ROWID, pa.array(np.arange(results.num_rows), pa.uint64())
    )
    found = vectors_of(numbered, column, dim)
    matrix = np.zeros((results.num_rows, dim), dtype=np.float32)
    matrix[found.rowids.astype(np.int64)] = found.matrix
    return matrix


def scored_alone(
    query: NDArray[np.float32],
    results: pa.Table,
    column: str,
    dim: int,
    device: str | None,
    *,
    words: Words | None = None,
) -> Scored:
    """Every candidate on the graph of the candidates alone.

    Candidates that share a vector count once.
    """
    from energy_plugin.energy import EnergyReranker

    vectors = vectors_in(results, column, dim)
    kept, rank = _distinct(prints_of(vectors))
    lexical, weight = _lexical(words, rank, len(kept))
    found = EnergyReranker(device=device).rerank(
        query, vectors[kept], lexical=lexical, lexical_weight=weight
    )
    distances = np.empty(len(kept), dtype=np.float32)
    distances[found.order] = found.distances
    return Scored(distances).at(np.where(vectors.any(axis=1), rank, -1))


def scored_by_columns(
    reader: LiveTable,
    pointer: Pointer,
    field: EnergyField,
    query: NDArray[np.float32],
    results: pa.Table,
    *,
    words: Words | None = None,
    relevance: bool = False,
) -> Scored | None:
    """Every candidate by its own stored columns; those that share a vector count once.

    None where that cannot be: columns beside the table, candidates that cannot be told, or
    without columns of their present vector.
    """
    if pointer.layout != "columns":
        return None
    stored = _stored(reader.host, pointer, results, held=reader.holds_rows())
    if stored is None:
        return None
    numbered = stored.append_column(ROWID, pa.array(np.arange(stored.num_rows), pa.uint64()))
    vectors = vectors_of(numbered, pointer.vector_column, pointer.dim)
    places = vectors.rowids.astype(np.int64)
    written = stored.select(NAMES)
    if len(places) < stored.num_rows:
        written = written.take(pa.array(places))
    if any(written[name].null_count for name in NAMES):
        return None
    columns, prints = pointer.format.from_arrow(written)
    if not np.array_equal(prints, prints_of(vectors.matrix)):
        return None
    kept, same = _distinct(prints)
    rank = np.full(stored.num_rows, -1, dtype=np.int64)
    rank[places] = same
    by = _Ranking(field, query, words, relevance, reader.device)
    return by.of(columns.take(kept), rank)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One query and the field that ranks its candidates."""

    field: EnergyField
    query: NDArray[np.float32]
    words: Words | None
    relevance: bool
    device: str | None

    def of(self, columns: EnergyColumns, rank: NDArray[np.int64]) -> Scored:
        """Candidates, of which `rank` says the place in the columns; −1: without a vector."""
        from energy_plugin.energy.search.few import among

        lexical, weight = _lexical(self.words, rank, len(columns))
        found = among(
            self.field,
            columns,
            self.query,
            lexical=lexical,
            lexical_weight=weight,
            relevance=self.relevance,
            device=self.device,
        )
        return Scored(*found).at(rank)


def _distinct(prints: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first candidate of each vector, ascending, and which of them each candidate shares."""
    _, first, same = np.unique(prints, return_index=True, return_inverse=True)
    kept = np.sort(first)  # in the order of the first search, which decides ties
    return kept, np.searchsorted(kept, first)[same]


def _stored(host: Host, pointer: Pointer, results: pa.Table, *, held: bool) -> pa.Table | None:
    """Energy columns and vector of the candidates: out of the results, or else by row id.

    Row ids are not looked up where `held`, as all rows are in memory then.
    """
    column, names = pointer.vector_column, set(results.column_names)
    if {*NAMES, column} <= names:
        of = pointer_of(results.schema)  # the columns say themselves which field they are of
        if of is not None and of.same_field(pointer):
            return results.select([*NAMES, column])
    if held or ROWID not in names:
        return None
    unique, places = np.unique(results[ROWID].to_numpy().astype(np.uint64), return_inverse=True)
    wanted = [*NAMES] if column in names else [*NAMES, column]
    found = host.table.take_row_ids(unique.tolist()).select(wanted).with_row_id().to_arrow()
    if found.num_rows < len(unique):
        return None
    order = np.argsort(found[ROWID].to_numpy(), kind="stable")[places]
    found = found.take(pa.array(order)).drop_columns([ROWID])
    # a vector in the results counts: the row id may be that of another table
    return found.append_column(column, results[column]) if column in names else found


def scored_in_field(
    snapshot: Snapshot,
    query: NDArray[np.float32],
    results: pa.Table,
    *,
    words: Words | None = None,
    relevance: bool = False,
) -> Scored:
    """Every candidate by the field of its table; rows of another one by their vectors."""
    from energy_plugin.energy import EnergyColumns

    rows, known = _row_numbers(snapshot, results)
    distinct, places = np.unique(rows[known], return_inverse=True)
    columns, rank = snapshot.columns_of(distinct), np.full(len(rows), -1, dtype=np.int64)
    rank[known] = places
    if not known.all() and snapshot.pointer.vector_column in results.column_names:
        vectors = _vectors(snapshot, results)
        other = ~known & vectors.any(axis=1)
        columns = EnergyColumns.concat([columns, snapshot.index.encode(vectors[other])])
        rank[other] = len(distinct) + np.arange(int(other.sum()))
    by = _Ranking(snapshot.field, query, words, relevance, snapshot.index.device)
    return by.of(columns, rank)


def _vectors(snapshot: Snapshot, results: pa.Table) -> NDArray[np.float32]:
    return vectors_in(results, snapshot.pointer.vector_column, snapshot.pointer.dim)


def _row_numbers(
    snapshot: Snapshot, results: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Row number of each candidate, and whether it has one."""
    if snapshot.pointer.vector_column in results.column_names:
        return snapshot.find_vectors(_vectors(snapshot, results))
    if ROWID in results.column_names:
        return snapshot.find_rowids(results[ROWID].to_numpy().astype(np.uint64))
    raise InvalidInputError(
        f"Candidates have neither {snapshot.pointer.vector_column!r} nor {ROWID!r}, only "
        f"{results.column_names}. Select one, or add with_row_id(True) to the search."
    )


def _lexical(
    words: Words | None, places: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float32] | None, float | None]:
    """Scores of n rows, of which each candidate is one, and the share that they get."""
    if words is None or not words.scores.any():
        return None, None
    return words.of(places, n), words.weight
