"""Search over every row: by exact distances, or by coarse scores that choose candidates.

`probing` searches the nearest cells.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy import coarse, ranking
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.ranking import Prepared, Ranked
from energy_plugin.energy.result import EnergyTerms, SearchResult, SearchWork
from energy_plugin.energy.store import RowStore

SCAN_BLOCK = 1 << 23  # coarse scores that one block of queries keeps: 32 MiB


def prepare(projection: Projection, queries: NDArray[np.float32]) -> Prepared:
    """Coordinates of queries; λ and G where the distance weighs them."""
    points, real = projection.project(queries)
    if not any(projection.field.config.weights[:2]):
        zero = torch.zeros(len(points), device=points.device)
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
    return SearchResult(
        ids=store.numbers[positions],
        distances=joined(3),
        terms=EnergyTerms(joined(0), joined(1), joined(2)),
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
        rows = store.decoded()[where] if store.keeps_rows else store.decode(allowed)
        scalars = everything.take(where)
    else:
        rows, scalars = store.decoded(), everything
        if len(allowed) < len(store):
            mask = np.ones(len(store), dtype=bool)
            mask[allowed] = False
            closed = torch.from_numpy(mask).to(device)
    count = len(allowed)
    k = min(k, count)
    wanted = ranking.wanted_rows(projection, k, count)
    pool = min(projection.field.config.pool, wanted)
    step = ranking.block_of(projection, len(rows))
    parts = []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        base = ranking.base_distances(projection, block, block.points @ rows.T, scalars)
        if closed is not None:
            base = base.masked_fill_(closed, torch.inf)
        places, values = ranking.nearest(base, wanted)
        near = rows[places[:, :pool]] if ranking.local_graph(projection) else rows[:0]
        positions = places if where is None else where[places]
        parts.append(
            ranking.finish(
                projection,
                block,
                positions=positions,
                base=values,
                decoded=near,
                rows=everything.take(positions),
                k=k,
            )
        )
    total = len(queries.points)
    cells = len(np.unique(store.columns.cell[allowed]))
    return collect(store, parts, np.full(total, cells), np.full(total, count))


def scanned(
    store: RowStore, queries: Prepared, k: int, allowed: NDArray[np.int64] | None
) -> SearchResult | None:
    """Coarse scores of every row choose the candidates; None where that does not apply.

    `allowed` as in `probed`.
    """
    projection, layout = store.projection, store.layout()
    if layout.coarse_table is None:
        return None
    open_rows = layout.open_rows(store, allowed)
    table = layout.coarse_table
    closed = None
    count = len(store) if open_rows is None else int(open_rows.sum())
    if open_rows is not None or table.shape[1] > len(store):
        closed = torch.ones(table.shape[1], dtype=torch.bool, device=table.device)
        closed[: len(store)] = False if open_rows is None else ~open_rows
    k = min(k, count)
    wanted = ranking.wanted_rows(projection, k, count)
    some = min(count, coarse.candidates(wanted))
    step = max(1, min(SCAN_BLOCK // table.shape[1], ranking.block_of(projection, some * 4)))
    parts = []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        slots = coarse.best(block.points, table, some, closed)
        parts.append(rank_candidates(store, block, slots, wanted, k))
    total = len(queries.points)
    cells = int((layout.sizes > 0).sum())
    return collect(store, parts, np.full(total, cells), np.full(total, count))


def rank_candidates(
    store: RowStore, queries: Prepared, slots: torch.Tensor, wanted: int, k: int
) -> Ranked:
    """Rank candidates, slots (b, c), by their exact distances."""
    projection, layout = store.projection, store.layout()
    positions, order = layout.order[slots].sort(1)
    slots = slots.gather(1, order)
    rows = store.rows_of_slots(layout, slots)  # (b, c, d)
    similarity = torch.bmm(rows, queries.points[:, :, None])[:, :, 0]
    scalars = layout.scalars.take(slots)
    base = ranking.base_distances(projection, queries, similarity, scalars)
    values, by_value = base.sort(dim=1, stable=True)
    places = by_value[:, :wanted]
    near = rows
    if ranking.local_graph(projection):
        pool = places[:, : projection.field.config.pool]
        batch = torch.arange(len(pool), device=pool.device)[:, None]
        near = rows[batch, pool]
    positions = positions.gather(1, places)
    return ranking.finish(
        projection,
        queries,
        positions=positions,
        base=values[:, :wanted],
        decoded=near,
        rows=store.scalars().take(positions),
        k=k,
    )
