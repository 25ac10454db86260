"""Search over every row: by exact distances, or by sketches that choose candidates.

`probing` searches the nearest cells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import inner
from energy_plugin.energy.codec import scan, sketch
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.result import EnergyTerms, SearchResult, SearchWork
from energy_plugin.energy.search import hybrid, ranking
from energy_plugin.energy.search.ranking import Prepared, Ranked
from energy_plugin.energy.search.rows import RowStore

SCAN_BLOCK = 1 << 23  # scores that one block of queries keeps: 32 MiB


def prepare(projection: Projection, queries: NDArray[np.float32]) -> Prepared:
    """Coordinates of queries; λ and G where the distance weighs them."""
    points, real = projection.project(queries)
    if not any(projection.field.config.weights[:2]):
        zero = torch.zeros(len(points), dtype=torch.float32, device=points.device)
        return Prepared(points, zero, zero)
    return Prepared(points, *projection.taumode(points, real))


def nothing(count: int) -> SearchResult:
    """The result of `count` queries where no row may be found."""

    def empty() -> NDArray[np.float32]:
        return np.empty((count, 0), dtype=np.float32)

    zeros = np.zeros(count, dtype=np.int64)
    return SearchResult(
        np.empty((count, 0), dtype=np.int64),
        empty(),
        EnergyTerms(empty(), empty(), empty()),
        SearchWork(zeros, zeros.copy()),
    )


def collect(
    store: RowStore, parts: list[Ranked], cells: NDArray[np.int64], rows: NDArray[np.int64]
) -> SearchResult:
    """The result of consecutive blocks of queries; cells and rows are the work of each query."""

    def joined(which: int) -> NDArray[np.float32]:
        return np.concatenate([part.terms[which].cpu().numpy() for part in parts])

    positions = np.concatenate([part.positions.cpu().numpy() for part in parts])
    lexical = joined(4) if len(parts[0].terms) > 4 else np.zeros_like(joined(2))
    return SearchResult(
        ids=store.numbers[positions],
        distances=joined(3),
        terms=EnergyTerms(joined(0), joined(1), joined(2), lexical),
        work=SearchWork(cells, rows),
    )


def exhaustive(
    store: RowStore, queries: Prepared, k: int, allowed: NDArray[np.int64]
) -> SearchResult:
    """Score every allowed row for every query; `allowed` are positions, ascending, not empty."""
    projection = store.projection
    device = projection.device
    everything = store.scalars()
    where: torch.Tensor | None = None
    closed: torch.Tensor | None = None
    if not store.keeps_rows or 2 * len(allowed) < len(store):
        where = torch.from_numpy(allowed).to(device)
        rows = store.take(allowed)
        scalars = everything.take(where)
    else:
        rows, scalars = store.decoded(), everything
        if len(allowed) < len(store):
            mask = np.ones(len(store), dtype=bool)
            mask[allowed] = False
            closed = torch.from_numpy(mask).to(device)
    count = len(allowed)
    k = min(k, count)
    wanted = ranking.wanted_rows(projection, k, count, queries.words)
    step = ranking.block_of(projection, len(rows), queries.words)
    parts = []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        base = ranking.base_distances(projection, block, block.points @ rows.T, scalars)
        if closed is not None:
            base = base.masked_fill_(closed, torch.inf)
        places, values = ranking.nearest(base, wanted)
        positions = places if where is None else where[places]
        parts.append(ending(store, block, positions=positions, base=values, k=k))
    total = len(queries.points)
    cells = store.cells_of(allowed)
    return collect(store, parts, np.full(total, cells), np.full(total, count))


def sketched(
    store: RowStore, queries: Prepared, k: int, allowed: NDArray[np.int64] | None
) -> SearchResult:
    """Sketches of every row choose the candidates.

    `allowed` as in `exhaustive`; None: all live rows.
    """
    sketcher, rows = store.sketches()
    closed = store.open_sketches()[0]
    if allowed is not None:
        closed = torch.ones(len(rows), dtype=torch.bool, device="cpu")
        closed[torch.from_numpy(allowed)] = False

    def choose(points: torch.Tensor, some: int) -> torch.Tensor:
        return torch.from_numpy(sketch.best(sketcher.queries(points), rows, some, closed)[0])

    return _chosen(store, queries, k, allowed, choose=choose, width=len(rows))


def scanned(
    store: RowStore, queries: Prepared, k: int, allowed: NDArray[np.int64] | None
) -> SearchResult:
    """The codes of every row choose the candidates, by the kernel of `codec.scan`.

    `allowed` as in `exhaustive`; None: all live rows.
    """
    codes, anchors = store.codes(), store.projection.graph.anchors
    closed: torch.Tensor | None = None
    if allowed is not None or not store.alive.all():
        mask = ~store.alive if allowed is None else np.ones(len(store), dtype=bool)
        if allowed is not None:
            mask[allowed] = False
        closed = torch.from_numpy(mask).to(anchors.device)

    def choose(points: torch.Tensor, some: int) -> torch.Tensor:
        scores = codes.scores(points, anchors)
        if closed is not None:
            scores.masked_fill_(closed, -torch.inf)
        return scan.best(scores, some)

    return _chosen(store, queries, k, allowed, choose=choose, width=len(store))


def _chosen(
    store: RowStore,
    queries: Prepared,
    k: int,
    allowed: NDArray[np.int64] | None,
    *,
    choose: Callable[[torch.Tensor, int], torch.Tensor],
    width: int,
) -> SearchResult:
    """Rank what `choose` finds for points (b, d), so many places each, of `width` rows."""
    projection = store.projection
    count, cells = store.open_rows()
    if allowed is not None:
        count, cells = len(allowed), store.cells_of(allowed)
    k = min(k, count)
    wanted = ranking.wanted_rows(projection, k, count, queries.words)
    some = min(count, sketch.candidates(wanted))
    step = max(1, SCAN_BLOCK // width)
    small = ranking.block_of(projection, some * projection.field.dim, queries.words)
    parts = []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        places = choose(block.points, some)
        for begin in range(0, len(places), small):
            part = slice(begin, begin + small)
            parts.append(_rank_candidates(store, block.part(part), places[part], wanted, k))
    total = len(queries.points)
    return collect(store, parts, np.full(total, cells), np.full(total, count))


def _rank_candidates(
    store: RowStore, queries: Prepared, positions: torch.Tensor, wanted: int, k: int
) -> Ranked:
    """Rank candidates at positions (b, c) by their exact distances."""
    positions = positions.sort(1).values  # ties go to the smaller one
    rows = store.rows_at(positions)  # (b, c, d)
    similarity = inner(queries.points, rows)
    scalars = store.scalars().take(positions)
    base = ranking.base_distances(store.projection, queries, similarity, scalars)
    places, values = ranking.nearest(base, wanted)
    return ending(store, queries, positions=positions.gather(1, places), base=values, k=k)


def ending(
    store: RowStore, queries: Prepared, *, positions: torch.Tensor, base: torch.Tensor, k: int
) -> Ranked:
    """`ranking.finish`, or `hybrid.finish` where words have joined."""
    last = ranking.finish if queries.words is None else hybrid.finish
    return last(store, queries, positions=positions, base=base, k=k)
