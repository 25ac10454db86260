"""One query: notice what changed, search, fetch the hits, and check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_chroma.live import LiveField
from energy_chroma.staleness import Changes, by_vectors, scan

if TYPE_CHECKING:
    from energy_plugin.energy import SearchResult

# Chroma's own nearest rows that every query looks at: a row whose vector moved is found near
# its new place by them, and near its old place among the hits.
COMPARED = 32
# Share of them that, changed, makes the query read all vectors: updates leave some rows of Chroma's
# graph without a way in, and of many changed rows such a one would keep its old vector.
MANY = 0.5
# Rounds that mend single rows before one that reads all vectors, and one to answer after it.
MENDING_ROUNDS = 2


@dataclass(frozen=True)
class Hits:
    """What was found, a list per query, nearest first.

    Parameters
    ----------
    ids : list of list of str
    distances : list of list of float
        Energy distances, ascending.
    energies : list of list of dict
        The distance's terms: ``lambda``, ``dispersion``, ``dirichlet``.
    records : dict
        ``{field: {id: value}}`` of all hits, embeddings always among the fields.
    """

    ids: list[list[str]]
    distances: list[list[float]]
    energies: list[list[dict[str, float]]]
    records: dict[str, dict[str, Any]]


def find(
    live: LiveField,
    queries: NDArray[np.float32],
    k: int,
    filters: dict[str, Any],
    include: Sequence[str],
    *,
    verify: bool,
) -> Hits:
    """Search until every hit is what the host holds.

    Parameters
    ----------
    live : LiveField
    queries : ndarray of shape (q, d), float32
    k : int
        Results per query; fewer where fewer rows match.
    filters : dict
        ``where``, ``where_document``, ``ids``; those that were given.
    include : sequence of str
        Fields of the hits to fetch.
    verify : bool
        Look for rows that were changed elsewhere, also beyond the hits.
    """
    fields = [*dict.fromkeys([*include, "embeddings"])]
    for attempt in range(MENDING_ROUNDS + 2):
        allowed = _allowed(live, filters)
        if verify and _notice(live, queries, k, filters):
            allowed = _allowed(live, filters)
        search = live.search(queries, k, allowed)
        names = _names(live, search, len(queries))
        wanted = list(dict.fromkeys(name for row in names for name in row))
        records = live.host.records(wanted, fields)
        stale = _compare(live, wanted, records["embeddings"])
        if not stale:
            break
        if attempt == MENDING_ROUNDS:
            # many rows were changed: mending them a few at a time would never end
            stale = scan(live.host, live.rows)
        live.apply(stale)
    # left without a break, another process writes faster than this one reads: serve what is there
    return _hits(names, search, records)


def _allowed(live: LiveField, filters: dict[str, Any]) -> NDArray[np.int64] | None:
    """Row numbers that pass the host's filters; None without filters."""
    if not filters:
        return None
    matching = live.host.ids(**filters)
    unknown = [name for name in matching if name not in live.rows and name not in live.unreadable]
    if unknown:
        live.apply(Changes(added=tuple(unknown)))
    return live.rows.rows(matching)


def _notice(live: LiveField, queries: NDArray[np.float32], k: int, filters: dict[str, Any]) -> bool:
    """Find rows added, deleted or changed elsewhere, by count and near the queries."""
    changes = Changes()
    if live.host.count() != len(live) + len(live.unreadable):
        changes = live.catch_up()
    if "ids" in filters:
        known = [name for name in dict.fromkeys(filters["ids"]) if name in live.rows]
        filters = {**filters, "ids": known}
        if not known:
            return bool(changes)
    if len(live):
        near = live.host.nearest(queries, max(k, COMPARED), filters)
        found = by_vectors(live.rows, near)
        if len(found.changed) > MANY * len(near):
            found = scan(live.host, live.rows)
        changes = changes | live.apply(found)
    return bool(changes)


def _compare(live: LiveField, wanted: list[str], vectors: dict[str, Any]) -> Changes:
    held = {name: np.asarray(vector, dtype=np.float32) for name, vector in vectors.items()}
    gone = tuple(name for name in wanted if name not in held)
    return by_vectors(live.rows, held) | Changes(removed=gone)


def _names(live: LiveField, search: SearchResult | None, queries: int) -> list[list[str]]:
    if search is None:
        return [[] for _ in range(queries)]
    return [live.rows.names(row) for row in search.ids.tolist()]


def _hits(
    names: list[list[str]], search: SearchResult | None, records: dict[str, dict[str, Any]]
) -> Hits:
    ids: list[list[str]] = [[] for _ in names]
    distances: list[list[float]] = [[] for _ in names]
    energies: list[list[dict[str, float]]] = [[] for _ in names]
    for query, row in enumerate(names):
        for place, name in enumerate(row):
            if search is None or name not in records["embeddings"]:
                continue
            ids[query].append(name)
            distances[query].append(float(search.distances[query, place]))
            energies[query].append(
                {
                    "lambda": float(search.terms.lambda_[query, place]),
                    "dispersion": float(search.terms.dispersion[query, place]),
                    "dirichlet": float(search.terms.dirichlet[query, place]),
                }
            )
    return Hits(ids, distances, energies, records)
