"""Search in the nearest cells of each query.

Rows of a cell lie side by side in the store's layout. Queries that probe the same cell are
scored with one matrix product over its rows; the products of a block of queries go into one
flat buffer and are then put together query by query.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy import coarse, ranking
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.ranking import Prepared, Ranked
from energy_plugin.energy.result import SearchResult
from energy_plugin.energy.search import collect, rank_candidates
from energy_plugin.energy.store import RowStore

PROBE_BLOCK = 1 << 22  # products that one block of queries keeps: 16 MiB
SPREAD = 0.2  # of a cell's radius; .1 to .4 find alike, ‖q − a‖ alone finds 2 % less


def probed(
    store: RowStore,
    queries: Prepared,
    k: int,
    allowed: NDArray[np.int64] | None,
    n_probe: int | None = None,
) -> SearchResult:
    """Score the rows of the nearest cells: `n_probe` of them or a share of all, and k at least.

    `allowed` are positions, ascending, not empty; None: all live rows.
    """
    projection = store.projection
    config = projection.field.config
    layout = store.layout()
    open_rows = layout.open_rows(store, allowed)
    sizes = layout.sizes if open_rows is None else layout.count(open_rows)
    count = int(sizes.sum())
    k = min(k, count)
    share = max(config.pool, int(config.probe_share * count)) if n_probe is None else 1
    want = min(count, max(k, share))
    # a block's products: the rows wanted and about a cell more, of every query
    width = want + int(np.ceil(sizes[sizes > 0].mean())) * (n_probe or 1)
    step = min(max(1, PROBE_BLOCK // width), ranking.block_of(projection, 1))
    parts, cells, rows = [], [], []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        ranked = _ranked_cells(projection, block, sizes, want, n_probe or 1)
        probes = _Probes.of(ranked, sizes, want, n_probe or 1)
        parts.append(_block(store, block, probes, k, open_rows))
        cells.append(probes.cells)
        rows.append(probes.rows)
    return collect(store, parts, np.concatenate(cells), np.concatenate(rows))


def _ranked_cells(
    projection: Projection,
    queries: Prepared,
    sizes: NDArray[np.int64],
    want: int,
    least: int,
) -> NDArray[np.int64]:
    """Cells with rows, nearest first, and last the list of rows without a cell; (b, c).

    As many as hold `want` rows even if they were the smallest ones, and `least` at least.
    """
    anchors = projection.graph.anchors
    # ⟨q, z⟩ of a cell's best row: ⟨q, a⟩ and a share of ρ = √(1 − ‖a‖²), as rows have length 1
    spread = (1 - 2 * projection.graph.half).clamp_min(0).sqrt()
    gain = queries.points @ anchors.T + SPREAD * spread
    used = torch.from_numpy(sizes[:-1] > 0).to(anchors.device)
    gain.masked_fill_(~used, -torch.inf)
    some = int(used.sum())
    smallest = np.cumsum(np.sort(sizes[:-1][sizes[:-1] > 0]))
    usual = 2 * int(np.searchsorted(smallest, want * 0.5)) + least
    count = min(some, max(least, usual))
    best = gain.topk(count, dim=1)
    ranked: NDArray[np.int64] = best.indices.cpu().numpy()
    if count < some and (sizes[ranked].sum(1) < want).any():
        ranked = gain.topk(some, dim=1).indices.cpu().numpy()
        count = some
    if count == some and sizes[-1] > 0:
        last = np.full((len(ranked), 1), len(sizes) - 1)
        ranked = np.concatenate([ranked, last], axis=1)
    return ranked


class _Probes:
    """Which query looks into which cell, and where the products of both go."""

    def __init__(self, query: NDArray[np.int64], cell: NDArray[np.int64], count: int) -> None:
        self.query = query  # (pairs,) ascending
        self.cell = cell  # (pairs,)
        self.cells = np.bincount(query, minlength=count)
        self.rows = np.zeros(count, dtype=np.int64)  # rows scored that may be found

    @classmethod
    def of(
        cls, ranked: NDArray[np.int64], sizes: NDArray[np.int64], want: int, least: int
    ) -> _Probes:
        """The first cells of each query that hold `want` rows, and `least` cells at least."""
        held = np.cumsum(sizes[ranked], axis=1)  # (b, c)
        before = held - sizes[ranked]
        taken = before < want
        taken[:, :least] = True
        if len(ranked) == 1:
            some = np.sort(ranked[taken])
            query, cell = np.zeros(len(some), dtype=np.int64), some
        else:
            query, rank = np.nonzero(taken)
            cell = ranked[query, rank]
        probes = cls(query, cell, len(ranked))
        np.add.at(probes.rows, query, sizes[probes.cell])
        return probes

    def take(self, queries: NDArray[np.int64]) -> _Probes:
        """Those of some queries, ascending."""
        new = np.full(len(self.cells), -1)
        new[queries] = np.arange(len(queries))
        mine = new[self.query] >= 0
        some = _Probes(new[self.query[mine]], self.cell[mine], len(queries))
        some.rows = self.rows[queries]
        return some


def _block(
    store: RowStore,
    queries: Prepared,
    probes: _Probes,
    k: int,
    open_rows: torch.Tensor | None,
) -> Ranked:
    """Rank a block of queries; those that found fewer rows than a pool one by one.

    The pool of a query must not depend on the others of its block.
    """
    enough = probes.rows >= ranking.wanted_rows(store.projection, k, len(store))
    if enough.all() or len(enough) == 1:
        return _score(store, queries, probes, k, open_rows)
    groups = [np.flatnonzero(enough), *np.flatnonzero(~enough)[:, None]]
    groups = [group for group in groups if len(group)]
    parts = [
        _score(store, queries.take(group), probes.take(group), k, open_rows) for group in groups
    ]
    back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(queries.points.device)
    terms = [torch.cat([part.terms[i] for part in parts])[back] for i in range(4)]
    return Ranked(
        torch.cat([part.positions for part in parts])[back],
        (terms[0], terms[1], terms[2], terms[3]),
    )


def _score(
    store: RowStore,
    queries: Prepared,
    probes: _Probes,
    k: int,
    open_rows: torch.Tensor | None,
) -> Ranked:
    """Rank the rows of the probed cells of a block of queries."""
    projection, layout = store.projection, store.layout()
    table, slots = _lines(store, queries.points, probes)
    count = int(probes.rows.min())
    wanted = ranking.wanted_rows(projection, k, count)
    closed = slots < 0
    slots = slots.clamp_min(0)
    if open_rows is not None:
        closed |= ~open_rows[slots]
    if layout.coarse is not None:
        table.masked_fill_(closed, torch.iinfo(torch.int32).min)
        some = min(count, coarse.candidates(wanted))
        best = table.topk(some, dim=1, sorted=False).indices
        return rank_candidates(store, queries, slots.gather(1, best), wanted, k)
    scalars = layout.scalars.take(slots)
    base = ranking.base_distances(projection, queries, table, scalars)
    base = base.masked_fill_(closed, torch.inf)
    positions = layout.order[slots]
    # in the order of positions, so that ties go to the smaller row number
    places, values = _nearest_by_position(base, positions, wanted)
    positions = positions.gather(1, places)
    near = queries.points[:0]
    if ranking.local_graph(projection):
        pool = min(projection.field.config.pool, wanted)
        near = store.rows_of_slots(layout, slots.gather(1, places[:, :pool]))
    return ranking.finish(
        projection,
        queries,
        positions=positions,
        base=values,
        decoded=near,
        rows=store.scalars().take(positions),
        k=k,
    )


def _lines(
    store: RowStore, points: torch.Tensor, probes: _Probes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Products of each query with the rows of its cells: one line a query, and their slots.

    Both (b, w), padded to the longest line; slots of the padding are −1. Products are coarse
    scores where the layout has coarse rows.
    """
    layout, device = store.layout(), points.device
    by_cell = np.argsort(probes.cell, kind="stable")
    lengths = layout.lengths[probes.cell]  # rows of each pair's cell, closed ones included
    offsets = np.zeros(len(by_cell), dtype=np.int64)  # of each pair's products in the buffer
    offsets[by_cell] = np.cumsum(lengths[by_cell]) - lengths[by_cell]
    products = _products(store, points, probes.query[by_cell], probes.cell[by_cell])
    total = np.bincount(probes.query, lengths, minlength=len(points)).astype(np.int64)
    width = int(total.max())
    before = np.cumsum(lengths) - lengths
    line = (np.cumsum(total) - total)[probes.query]
    count = np.arange(int(lengths.sum()))

    def spread(values: NDArray[np.int64]) -> torch.Tensor:
        """First value of each pair → values of all its rows."""
        return torch.from_numpy(count + np.repeat(values - before, lengths)).to(device)

    own_slots = spread(layout.starts[probes.cell])
    if len(points) == 1:  # one line, in the order of the pairs
        return products[None], own_slots[None]
    source = spread(offsets)
    target = spread(probes.query * width + before - line)
    table = torch.zeros(len(points) * width, dtype=products.dtype, device=device)
    table[target] = products[source]
    slots = torch.full((len(table),), -1, dtype=torch.int64, device=device)
    slots[target] = own_slots
    return table.view(-1, width), slots.view(-1, width)


def _products(
    store: RowStore, points: torch.Tensor, query: NDArray[np.int64], cell: NDArray[np.int64]
) -> torch.Tensor:
    """Products of pairs sorted by cell, pair by pair in one flat buffer."""
    layout, device = store.layout(), points.device
    integers = layout.coarse
    if integers is not None:
        points = coarse.query_integers(points)
    if integers is not None and len(points) == 1:  # one product over a copy of all its cells
        starts = layout.starts[cell]
        ends = starts + layout.lengths[cell]
        ranges = zip(starts.tolist(), ends.tolist(), strict=True)
        rows = torch.cat([integers[start:end] for start, end in ranges])
        return torch._int_mm(rows, points.T).flatten()
    points = points[torch.from_numpy(query).to(device)]
    out = []
    borders = np.flatnonzero(np.diff(cell, prepend=-1))
    stops = [*borders[1:].tolist(), len(cell)]
    first_slots = layout.starts[cell[borders]]
    last_slots = first_slots + layout.lengths[cell[borders]]
    for first, stop, start, end, c in zip(
        borders.tolist(),
        stops,
        first_slots.tolist(),
        last_slots.tolist(),
        cell[borders].tolist(),
        strict=True,
    ):
        if integers is None:
            product = points[first:stop] @ store.rows_of_cell(layout, c).T
        elif stop == first + 1:
            product = torch._int_mm(integers[start:end], points[first:stop].T)
        else:
            product = torch._int_mm(points[first:stop], integers[start:end].T)
        out.append(product.flatten())
    return torch.cat(out)


def _nearest_by_position(
    base: torch.Tensor, positions: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `ranking.nearest`, with ties to the smaller position."""
    some = min(count + ranking.TIES, base.shape[1])
    places = base.topk(some, dim=1, largest=False, sorted=False).indices
    places = places.gather(1, positions.gather(1, places).argsort(1))
    values, order = base.gather(1, places).sort(dim=1, stable=True)
    return places.gather(1, order[:, :count]), values[:, :count]
