"""Search in the nearest cells of each query.

Queries that probe the same cell are scored with one matrix product over its rows; the products
of a block of queries go into one flat buffer and are then put together query by query.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.projection import Projection
from energy_plugin.energy.result import SearchResult
from energy_plugin.energy.search import ranking
from energy_plugin.energy.search.exhaustive import collect, ending
from energy_plugin.energy.search.ranking import Prepared, Ranked
from energy_plugin.energy.search.rows import RowStore, cell_lists

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
    if allowed is None:
        lists = _Lists(*store.lists())
    else:
        lists = _Lists(*cell_lists(allowed, store.columns.cell, projection.field.n_anchors))
    sizes = lists.sizes
    count = len(lists.order)
    k = min(k, count)
    least = ranking.wanted_rows(projection, 1, count, queries.words)
    share = max(config.pool, least, int(config.probe_share * count)) if n_probe is None else 1
    want = min(count, max(k, share))
    # a block's products: the rows wanted and about a cell more, of every query
    width = want + int(np.ceil(sizes[sizes > 0].mean())) * (n_probe or 1)
    step = min(max(1, PROBE_BLOCK // width), ranking.block_of(projection, 1, queries.words))
    parts, cells, rows = [], [], []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        ranked = _ranked_cells(projection, block, sizes, want, n_probe or 1)
        probes = _Probes.of(ranked, sizes, want, n_probe or 1)
        parts.append(_block(store, lists, block, probes, k))
        cells.append(probes.cells)
        rows.append(probes.rows)
    return collect(store, parts, np.concatenate(cells), np.concatenate(rows))


class _Lists:
    """The rows that may be found, sorted by cell."""

    def __init__(self, order: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.order = order  # (n,) positions, ascending within a cell
        self.starts = np.concatenate([[0], ends[:-1]])  # (m + 1,); the last list has no cell
        self.sizes = np.diff(ends, prepend=0)  # (m + 1,)

    def rows_of(self, cell: int) -> NDArray[np.int64]:
        """Positions of a cell's rows."""
        start = self.starts[cell]
        return self.order[start : start + self.sizes[cell]]


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


def _block(store: RowStore, lists: _Lists, queries: Prepared, probes: _Probes, k: int) -> Ranked:
    """Rank a block of queries; those that found fewer rows than a pool one by one.

    The pool of a query must not depend on the others of its block.
    """
    enough = probes.rows >= ranking.wanted_rows(store.projection, k, len(store), queries.words)
    if enough.all() or len(enough) == 1:
        return _score(store, lists, queries, probes, k)
    groups = [np.flatnonzero(enough), *np.flatnonzero(~enough)[:, None]]
    groups = [group for group in groups if len(group)]
    parts = [_score(store, lists, queries.take(group), probes.take(group), k) for group in groups]
    back = torch.from_numpy(np.argsort(np.concatenate(groups))).to(queries.points.device)
    terms = zip(*(part.terms for part in parts), strict=True)
    return Ranked(
        torch.cat([part.positions for part in parts])[back],
        tuple(torch.cat(term)[back] for term in terms),
    )


def _score(store: RowStore, lists: _Lists, queries: Prepared, probes: _Probes, k: int) -> Ranked:
    """Rank the rows of the probed cells of a block of queries."""
    projection = store.projection
    products, positions = _lines(store, lists, queries.points, probes)
    wanted = ranking.wanted_rows(projection, k, int(probes.rows.min()), queries.words)
    padding = positions < 0
    positions = positions.clamp_min(0)
    scalars = store.scalars().take(positions)
    base = ranking.base_distances(projection, queries, products, scalars)
    base.masked_fill_(padding, torch.inf)
    # in the order of positions, so that ties go to the smaller row number
    places, values = _nearest_by_position(base, positions, wanted)
    positions = positions.gather(1, places)
    return ending(store, queries, positions=positions, base=values, k=k)


def _lines(
    store: RowStore, lists: _Lists, points: torch.Tensor, probes: _Probes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Products of each query with the rows of its cells: one line a query, and their positions.

    Both (b, w), padded to the longest line; positions of the padding are −1.
    """
    device = points.device
    by_cell = np.argsort(probes.cell, kind="stable")
    lengths = lists.sizes[probes.cell]  # rows of each pair's cell
    offsets = np.zeros(len(by_cell), dtype=np.int64)  # of each pair's products in the buffer
    offsets[by_cell] = np.cumsum(lengths[by_cell]) - lengths[by_cell]
    total = np.bincount(probes.query, lengths, minlength=len(points)).astype(np.int64)
    width = int(total.max())
    before = np.cumsum(lengths) - lengths
    line = (np.cumsum(total) - total)[probes.query]
    count = np.arange(int(lengths.sum()))

    def spread(values: NDArray[np.int64]) -> torch.Tensor:
        """First value of each pair → values of all its rows."""
        return torch.from_numpy(count + np.repeat(values - before, lengths)).to(device)

    own = (
        torch.from_numpy(lists.order).to(device).index_select(0, spread(lists.starts[probes.cell]))
    )
    if len(points) == 1:  # one line, in the order of the pairs
        return points @ store.rows_at(own).T, own[None]
    products = _products(store, lists, points, probes.query[by_cell], probes.cell[by_cell])
    source = spread(offsets)
    target = spread(probes.query * width + before - line)
    table = torch.zeros(len(points) * width, dtype=torch.float32, device=device)
    table[target] = products[source]
    positions = torch.full((len(table),), -1, dtype=torch.int64, device=device)
    positions[target] = own
    return table.view(-1, width), positions.view(-1, width)


def _products(
    store: RowStore,
    lists: _Lists,
    points: torch.Tensor,
    query: NDArray[np.int64],
    cell: NDArray[np.int64],
) -> torch.Tensor:
    """Products of pairs sorted by cell, pair by pair in one flat buffer."""
    points = points[torch.from_numpy(query).to(points.device)]
    borders = np.flatnonzero(np.diff(cell, prepend=-1))
    out = []
    for first, stop in zip(borders, [*borders[1:], len(cell)], strict=True):
        rows = store.rows_at(torch.from_numpy(lists.rows_of(cell[first])).to(points.device))
        out.append((points[first:stop] @ rows.T).flatten())
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
