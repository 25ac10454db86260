"""One query: notice what changed, search, fetch the hits, and check them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy_chroma.fields import ChromaField
from energy_chroma.watching import Look
from energy_plugin.stored import Changes
from energy_plugin.stored.comparing import by_vectors, scan

if TYPE_CHECKING:
    from energy_plugin.energy import SearchResult

# Chroma's own nearest rows that every query looks at: a row whose vector moved is found near
# its new place by them, and near its old place among the hits.
COMPARED = 32
# Share of them that, changed, makes the query read all vectors: updates leave some rows of Chroma's
# graph without a way in, and of many changed rows such a one would keep its old vector.
MANY = 0.5
# Rows up to which every query counts them (5 ms for 100,000), and how often it does beyond.
COUNTED_ALWAYS = 20_000
COUNT_SECONDS = 1.0
# Rounds that mend single rows before one that reads all vectors, and one to answer after it.
MENDING_ROUNDS = 2


@dataclass(frozen=True)
class Plan:
    """How to search.

    Parameters
    ----------
    k : int
        Results per query; fewer where fewer rows match.
    filters : dict
        ``where``, ``where_document``, ``ids``; those that were given.
    include : sequence of str
        Fields of the hits to fetch.
    look : Look
        What to look for of what was changed elsewhere. Hits that are not compared with what the
        host holds are still left out where they are gone.
    n_probe : int, "all" or None
        Cells of the field to look into, see `EnergyIndex.search`.
    candidates : int, optional
        Rank that many rows of Chroma's own search instead.
    texts : list of str, optional
        Words of the queries, that join the ranking.
    lexical_weight : float, optional
        Their share; that of the field if not given.
    min_relevance : float, optional
        Leave out hits of less.
    """

    k: int
    filters: dict[str, Any]
    include: Sequence[str]
    look: Look
    n_probe: int | Literal["all"] | None = None
    candidates: int | None = None
    texts: list[str] | None = None
    lexical_weight: float | None = None
    min_relevance: float | None = None


@dataclass(frozen=True)
class Ranked:
    """Rows of one query, nearest first: ids, distances and their terms, relevance."""

    ids: list[str]
    distances: list[float]
    energies: list[dict[str, float]]
    relevance: list[float]


@dataclass(frozen=True)
class Hits:
    """What was found, a list per query, nearest first.

    Parameters
    ----------
    ids : list of list of str
    distances : list of list of float
        Energy distances, ascending.
    energies : list of list of dict
        The distance's terms: ``lambda``, ``dispersion``, ``dirichlet``, ``lexical``.
    relevance : list of list of float
        See `energy_plugin.energy.result.SearchResult`.
    records : dict
        ``{field: {id: value}}`` of all hits, and of ids that are there.
    """

    ids: list[list[str]]
    distances: list[list[float]]
    energies: list[list[dict[str, float]]]
    relevance: list[list[float]]
    records: dict[str, dict[str, Any]]


def find(live: ChromaField, queries: NDArray[np.float32], plan: Plan) -> Hits:
    """Search until every hit is what the host holds."""
    for attempt in range(MENDING_ROUNDS + 2):
        compared: set[str] = set()  # rows whose vectors have just been read
        of_host = None if plan.candidates is None else _of_host(live, queries, plan, compared)
        ranked = _of_field(live, queries, plan, compared) if of_host is None else of_host
        wanted = list(dict.fromkeys(name for one in ranked for name in one.ids))
        if plan.look.present and not plan.include:
            return _hits(ranked, {"ids": dict.fromkeys(wanted)})
        checks = ["embeddings"] if plan.look.hits and not compared.issuperset(wanted) else []
        if plan.look.hits and plan.texts is not None:
            checks.append("documents")
        records = live.host.records(wanted, list(dict.fromkeys([*plan.include, *checks])))
        stale = _compare(live, wanted, records if checks else {"ids": records["ids"]})
        if plan.look.hits and plan.texts is not None and live.words is not None:
            found = records["documents"]
            other = live.words.differing(list(found), list(found.values()))
            stale = stale | Changes(changed=tuple(other))
        if not stale:
            break
        if attempt == MENDING_ROUNDS:
            # many rows were changed: mending them a few at a time would never end
            stale = scan(live.host, live.rows)
        live.apply(stale)
    # left without a break, another process writes faster than this one reads: serve what is there
    return _hits(ranked, records)


def _of_field(
    live: ChromaField, queries: NDArray[np.float32], plan: Plan, compared: set[str]
) -> list[Ranked]:
    """Nearest rows of the whole field."""
    allowed = _allowed(live, plan.filters)
    if plan.look.near and _notice(live, queries, plan, compared):
        allowed = _allowed(live, plan.filters)
    search = live.search(queries, plan.k, allowed, plan.n_probe, **_words(live, plan, allowed))
    return [_ranked(live, search, row, plan.min_relevance) for row in range(len(queries))]


def _of_host(
    live: ChromaField, queries: NDArray[np.float32], plan: Plan, compared: set[str]
) -> list[Ranked] | None:
    """Chroma's own nearest rows in energy order; None where it found fewer than were asked for.

    Its graph loses rows where a filter leaves few, and may not reach rows that were updated.
    """
    count = max(plan.k, plan.candidates or 0)
    lists, vectors = live.host.candidates(queries, count, plan.filters, vectors=plan.look.near)
    if any(len(names) < plan.k for names in lists):
        return None
    if plan.look.near:
        live.apply(by_vectors(live.rows, vectors))
        compared.update(vectors)
    unknown = [name for names in lists for name in names if name not in live.rows]
    if unknown:
        live.apply(Changes(added=tuple(dict.fromkeys(unknown))))
    allowed = None if plan.texts is None else _allowed(live, plan.filters)
    found = []
    for place, (query, names) in enumerate(zip(queries, lists, strict=True)):
        rows = live.rows.rows(names)
        words = _words(live, plan, allowed, slice(place, place + 1))
        if words:  # rows that words find join those of Chroma
            scores = words["lexical"]
            best = np.argsort(-scores.data, kind="stable")[:count]
            rows = np.union1d(rows, scores.indices[best])
        search = live.search(query[None], plan.k, rows, **words)
        found.append(_ranked(live, search, 0, plan.min_relevance))
    return found


def _words(
    live: ChromaField,
    plan: Plan,
    allowed: NDArray[np.int64] | None,
    asked: slice = slice(None),
) -> dict[str, Any]:
    """Lexical scores of some of the queries, and their share; nothing where words take no part."""
    if plan.texts is None or live.words is None:
        return {}
    names = None if allowed is None else live.rows.names(allowed.tolist())
    weight = live.words.share if plan.lexical_weight is None else plan.lexical_weight
    scores = live.words.scores(plan.texts[asked], live.rows, live.index.next_row, names)
    return {"lexical": scores, "lexical_weight": weight}


def _allowed(live: ChromaField, filters: dict[str, Any]) -> NDArray[np.int64] | None:
    """Row numbers that pass the host's filters; None without filters."""
    if not filters:
        return None
    matching = live.host.ids(**filters)
    unknown = [name for name in matching if name not in live.rows and name not in live.unreadable]
    if unknown:
        live.apply(Changes(added=tuple(unknown)))
    return live.rows.rows(matching)


def _notice(
    live: ChromaField, queries: NDArray[np.float32], plan: Plan, compared: set[str]
) -> bool:
    """Find rows added, deleted or changed elsewhere, by count and near the queries."""
    changes, filters = Changes(), plan.filters
    if plan.look.rows and _count_is_due(live):
        if live.host.count() != len(live) + len(live.unreadable):
            changes = live.catch_up()
        live.counted_at = plan.look.state
    if "ids" in filters:
        known = [name for name in dict.fromkeys(filters["ids"]) if name in live.rows]
        filters = {**filters, "ids": known}
        if not known:
            return bool(changes)
    if len(live):
        near = live.host.nearest(queries, max(plan.k, COMPARED), filters)
        found = by_vectors(live.rows, near)
        if len(found.changed) > MANY * len(near):
            found = scan(live.host, live.rows)
        changes = changes | live.apply(found)
        compared.update(near)
    return bool(changes)


def _count_is_due(live: ChromaField) -> bool:
    """Always in a small collection; counting a large one takes longer than searching it."""
    now = time.monotonic()
    if len(live) > COUNTED_ALWAYS and now < live.counted + COUNT_SECONDS:
        return False
    live.counted = now
    return True


def _compare(live: ChromaField, wanted: list[str], records: dict[str, dict[str, Any]]) -> Changes:
    found = by_vectors(live.rows, records.get("embeddings", {}))
    gone = tuple(name for name in wanted if name not in records["ids"])
    return found | Changes(removed=gone) if gone else found


def _ranked(
    live: ChromaField, search: SearchResult | None, row: int, least: float | None
) -> Ranked:
    if search is None:
        return Ranked([], [], [], [])
    if least is not None:
        kept = search.relevance[row] >= least
        if not kept.all():
            search = _only(search, row, kept)
            row = 0
    terms = zip(
        search.terms.lambda_[row].tolist(),
        search.terms.dispersion[row].tolist(),
        search.terms.dirichlet[row].tolist(),
        search.terms.lexical[row].tolist(),
        strict=True,
    )
    return Ranked(
        live.rows.names(search.ids[row].tolist()),
        search.distances[row].tolist(),
        [{"lambda": a, "dispersion": b, "dirichlet": c, "lexical": d} for a, b, c, d in terms],
        search.relevance[row].tolist(),
    )


def _only(search: SearchResult, row: int, kept: NDArray[np.bool_]) -> SearchResult:
    """Some hits of one query."""
    terms = search.terms
    columns = (terms.lambda_, terms.dispersion, terms.dirichlet, terms.lexical)
    return replace(
        search,
        ids=search.ids[row, kept][None],
        distances=search.distances[row, kept][None],
        terms=type(terms)(*(column[row, kept][None] for column in columns)),
        relevance=search.relevance[row, kept][None],
    )


def _hits(ranked: list[Ranked], records: dict[str, dict[str, Any]]) -> Hits:
    """Without rows that are gone."""
    held = records["ids"]
    kept = [[place for place, name in enumerate(one.ids) if name in held] for one in ranked]

    def column(name: str) -> list[list[Any]]:
        return [
            [getattr(one, name)[place] for place in places]
            for one, places in zip(ranked, kept, strict=True)
        ]

    return Hits(
        column("ids"), column("distances"), column("energies"), column("relevance"), records
    )
