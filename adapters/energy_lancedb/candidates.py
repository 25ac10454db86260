"""Energy distances of candidates that LanceDB's own search has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.columns import NAMES
from energy_lancedb.host import ROWID, Host, is_vector, prints_of, vectors_of
from energy_lancedb.live import LiveTable
from energy_lancedb.pointer import Pointer, pointer_of
from energy_lancedb.snapshot import Snapshot
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyField


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


def distances_alone(
    query: NDArray[np.float32],
    results: pa.Table,
    column: str,
    dim: int,
    device: str | None,
    *,
    words: Words | None = None,
) -> NDArray[np.float32]:
    """Energy distance of every candidate on the graph of the candidates alone, (n,).

    Candidates that share a vector count once.
    """
    from energy_plugin.energy import EnergyReranker

    if results.num_rows == 0:
        return np.empty(0, dtype=np.float32)
    vectors = vectors_in(results, column, dim)
    _, first, places = np.unique(prints_of(vectors), return_index=True, return_inverse=True)
    kept = np.sort(first)  # in the order of the first search, which decides ties
    rank = np.searchsorted(kept, first)[places]  # of each candidate among those kept
    lexical, weight = _lexical(words, rank, len(kept))
    found = EnergyReranker(device=device).rerank(
        query,
        vectors[kept],
        lexical=None if lexical is None else lexical[0],
        lexical_weight=weight,
    )
    distances = np.empty(len(kept), dtype=np.float32)
    distances[found.order] = found.distances
    distances = distances[rank]
    distances[~vectors.any(axis=1)] = np.inf  # rows without a vector are last
    return distances


def distances_by_columns(
    reader: LiveTable,
    pointer: Pointer,
    field: EnergyField,
    query: NDArray[np.float32],
    results: pa.Table,
    *,
    words: Words | None = None,
) -> NDArray[np.float32] | None:
    """Energy distance of every candidate to one query by its own stored columns, (n,).

    None where that cannot be: columns beside the table, candidates that cannot be told, or
    without columns of their present vector.
    """
    from energy_plugin.energy import EnergyIndex

    if pointer.layout != "columns":
        return None
    stored = _stored(reader.host, pointer, results, held=reader.holds_rows())
    if stored is None:
        return None
    numbered = stored.append_column(ROWID, pa.array(np.arange(stored.num_rows), pa.uint64()))
    vectors = vectors_of(numbered, pointer.vector_column, pointer.dim)
    places = vectors.rowids.astype(np.int64)
    written = stored.take(pa.array(places))
    if any(written[name].null_count for name in NAMES):
        return None
    columns, prints = pointer.format.from_arrow(written)
    if not np.array_equal(prints, prints_of(vectors.matrix)):
        return None
    distances = np.full(stored.num_rows, np.inf, dtype=np.float32)  # rows without a vector are last
    if len(places):
        _, first, same = np.unique(prints, return_index=True, return_inverse=True)
        kept = np.sort(first)  # in the order of the first search, which decides ties
        index = EnergyIndex.from_columns(field, columns.take(kept), device=reader.device)
        rank = np.full(stored.num_rows, -1, dtype=np.int64)
        rank[places] = np.searchsorted(kept, first)[same]
        lexical, weight = _lexical(words, rank, len(kept))
        found = index.search(
            query, k=len(kept), n_probe="all", lexical=lexical, lexical_weight=weight
        )
        ranked = np.empty(len(kept), dtype=np.float32)
        ranked[found.ids[0]] = found.distances[0]
        distances[places] = ranked[rank[places]]
    return distances


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


def distances_in_field(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    results: pa.Table,
    words: Words | None = None,
) -> NDArray[np.float32]:
    """Energy distance of every candidate to one query by the field of its table, (n,)."""
    if results.num_rows == 0:
        return np.empty(0, dtype=np.float32)
    rows, known = _row_numbers(snapshot, results)
    if not known.all() and snapshot.pointer.vector_column in results.column_names:
        return _mixed_distances(snapshot, queries, results, rows, known, words=words)
    distances = np.full(len(rows), np.inf, dtype=np.float32)  # rows without a vector are last
    if known.any():
        distinct, places = np.unique(rows[known], return_inverse=True)
        lexical, weight = _lexical(words, np.where(known, rows, -1), len(snapshot.rowids))
        found = snapshot.index.search(
            queries, k=len(distinct), rows=distinct, lexical=lexical, lexical_weight=weight
        )
        ranked = np.empty(len(distinct), dtype=np.float32)
        ranked[np.searchsorted(distinct, found.ids[0])] = found.distances[0]
        distances[known] = ranked[places]
    return distances


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


def _mixed_distances(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    results: pa.Table,
    rows: NDArray[np.int64],
    known: NDArray[np.bool_],
    *,
    words: Words | None,
) -> NDArray[np.float32]:
    """As `distances_in_field`, where some candidates are not rows of the table."""
    from energy_plugin.energy import EnergyColumns, EnergyIndex

    unknown = snapshot.index.encode(_vectors(snapshot, results)[~known])
    columns = EnergyColumns.concat([snapshot.columns_of(rows[known]), unknown])
    index = EnergyIndex.from_columns(snapshot.field, columns, device=snapshot.index.device)
    places = np.concatenate([np.flatnonzero(known), np.flatnonzero(~known)])
    lexical, weight = _lexical(words, np.argsort(places), len(columns))
    found = index.search(queries, k=len(columns), lexical=lexical, lexical_weight=weight)
    distances = np.full(len(columns), np.inf, dtype=np.float32)
    distances[places[found.ids[0]]] = found.distances[0]
    return distances


def _lexical(words: Words | None, places: NDArray[np.int64], n: int) -> tuple[Any, float | None]:
    """Scores of n rows, of which each candidate is one, and the share that they get."""
    if words is None or not words.scores.any():
        return None, None
    return words.of(places, n)[None], words.weight
