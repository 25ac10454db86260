"""Search: base distances, the query's own graph, and the order that comes of them.

The `pool` nearest rows by base distance join the query's graph and are ranked by the distance
after its heat flow. A list longer than the pool continues in base order, with the base
distances shifted by one constant a query so that distances ascend over the whole list. The
pool does not depend on k: the first ten of a hundred results are the ten of a search for ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.device import BLOCK_VALUES
from energy_plugin.energy.local import joined_similarity
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.result import EnergyTerms, SearchResult, SearchWork
from energy_plugin.energy.store import RowStore, cell_lists

TIES = 8


@dataclass(frozen=True)
class Prepared:
    """Queries in the field's terms."""

    points: torch.Tensor  # (q, d)
    lambda_: torch.Tensor  # (q,)
    dispersion: torch.Tensor  # (q,)

    def part(self, where: slice) -> Prepared:
        """Some of the queries."""
        return Prepared(self.points[where], self.lambda_[where], self.dispersion[where])


@dataclass(frozen=True)
class Scored:
    """Rows that are compared with queries."""

    positions: NDArray[np.int64]  # (p,) positions in the store
    rows: torch.Tensor  # (p, d) decoded
    lambda_: torch.Tensor  # (p,)
    dispersion: torch.Tensor  # (p,)
    real: torch.Tensor  # (p,) bool, has a direction
    open: torch.Tensor | None  # (p,) bool, may be found; None: all


def prepare(projection: Projection, queries: NDArray[np.float32]) -> Prepared:
    """Coordinates, λ and G of queries."""
    points, real = projection.project(queries)
    return Prepared(points, *projection.taumode(points, real))


def _gather(
    store: RowStore, positions: NDArray[np.int64], rows: torch.Tensor, opened: torch.Tensor | None
) -> Scored:
    def column(values: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(values[positions]).to(rows.device)

    real = torch.from_numpy(store.columns.cell[positions] >= 0).to(rows.device)
    return Scored(
        positions,
        rows,
        column(store.columns.lambda_),
        column(store.columns.dispersion),
        real,
        opened,
    )


def _rank(
    projection: Projection, queries: Prepared, scored: Scored, k: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The k best of the scored rows: places (b, k) and the three terms, each (b, k)."""
    config, energies = projection.field.config, projection.energies
    heat = projection.field.scalars.heat
    similarity = queries.points @ scored.rows.T  # (b, p)
    base = energies.dirichlet_term(similarity)
    if config.weight_lambda > 0:
        base = base + energies.lambda_term(queries.lambda_[:, None], scored.lambda_)
    if config.weight_dispersion > 0:
        base = base + energies.dispersion_term(queries.dispersion[:, None], scored.dispersion)
    base = torch.where(scored.real, base, sum(energies.worst))
    count = base.shape[1]
    if scored.open is not None:
        base = base.masked_fill(~scored.open, torch.inf)
        count = int(scored.open.sum())
    k = min(k, count)
    pool = min(config.pool, count)
    wanted = min(max(k, pool), count)
    # a few more than wanted, so that a tie at the border is decided by row number and not by k
    places = base.topk(min(wanted + TIES, count), dim=1, largest=False).indices.sort(1).values
    by_value = base.gather(1, places).argsort(dim=1, stable=True)[:, :wanted]
    places = places.gather(1, by_value)
    values = base.gather(1, places)

    near = places[:, :pool]  # (b, c)
    real = scored.real[near]
    joined = joined_similarity(
        queries.points,
        scored.rows[near],
        real,
        heat=heat * config.local_heat,
        query_heat=heat * config.query_heat,
        neighbours=min(config.local_neighbours, max(1, pool // 8)),
        query_neighbours=min(config.query_neighbours, max(1, pool // 8)),
        power=config.weight_power,
    )
    worst = energies.worst
    terms = [
        torch.where(
            scored.real[places],
            energies.lambda_term(queries.lambda_[:, None], scored.lambda_[places]),
            worst[0],
        ),
        torch.where(
            scored.real[places],
            energies.dispersion_term(queries.dispersion[:, None], scored.dispersion[places]),
            worst[1],
        ),
    ]
    dirichlet = torch.where(real, energies.dirichlet_term(joined), worst[2])
    total = terms[0][:, :pool] + terms[1][:, :pool] + dirichlet
    if values.shape[1] > pool:
        tail = values[:, pool:]
        shift = (total.amax(1, keepdim=True) - tail[:, :1]).clamp_min(0)
        rest = tail + shift - terms[0][:, pool:] - terms[1][:, pool:]
        dirichlet = torch.cat([dirichlet, rest], 1)
        total = torch.cat([total, tail + shift], 1)
    # ties go to the smaller row number, as positions ascend with them; the tail stays behind
    by_place = near.argsort(1)
    best = by_place.gather(1, total[:, :pool].gather(1, by_place).argsort(dim=1, stable=True))
    rest_order = torch.arange(pool, wanted, device=places.device).expand(len(places), -1)
    order = torch.cat([best, rest_order], 1)[:, :k]
    return places.gather(1, order), [term.gather(1, order) for term in (*terms, dirichlet, total)]


def _collect(
    store: RowStore,
    parts: list[tuple[NDArray[np.int64], list[torch.Tensor]]],
    cells: list[int],
    rows: list[int],
) -> SearchResult:
    def joined(which: int) -> NDArray[np.float32]:
        return np.concatenate([terms[which].cpu().numpy() for _, terms in parts])

    return SearchResult(
        ids=store.numbers[np.concatenate([positions for positions, _ in parts])],
        distances=joined(3),
        terms=EnergyTerms(joined(0), joined(1), joined(2)),
        work=SearchWork(np.array(cells, dtype=np.int64), np.array(rows, dtype=np.int64)),
    )


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


def exhaustive(
    store: RowStore, queries: Prepared, k: int, allowed: NDArray[np.int64]
) -> SearchResult:
    """Score every allowed row for every query; `allowed` are positions, ascending, not empty."""
    projection = store.projection
    if len(store) > 2 * projection.field.config.exhaustive_rows:  # too many to keep decoded
        scored = _gather(store, allowed, store.decode(allowed), None)
    elif 2 * len(allowed) < len(store):
        decoded = store.decoded()
        some = torch.from_numpy(allowed).to(decoded.device)
        scored = _gather(store, allowed, decoded[some], None)
    else:
        decoded = store.decoded()
        opened: torch.Tensor | None = None
        if len(allowed) < len(store):
            mask = np.zeros(len(store), dtype=bool)
            mask[allowed] = True
            opened = torch.from_numpy(mask).to(decoded.device)
        scored = _gather(store, np.arange(len(store)), decoded, opened)
    pool = min(projection.field.config.pool, len(allowed))
    width = max(len(scored.positions), pool * max(projection.field.dim, pool))
    step = max(1, BLOCK_VALUES // width)
    parts = []
    for start in range(0, len(queries.points), step):
        block = queries.part(slice(start, start + step))
        places, terms = _rank(projection, block, scored, k)
        parts.append((scored.positions[places.cpu().numpy()], terms))
    count = len(queries.points)
    cells = len(np.unique(store.columns.cell[allowed]))
    return _collect(store, parts, [cells] * count, [len(allowed)] * count)


def probed(
    store: RowStore,
    queries: Prepared,
    k: int,
    allowed: NDArray[np.int64] | None,
    n_probe: int | None = None,
) -> SearchResult:
    """Score the rows of the nearest cells, at least k of them and `n_probe` cells or a share."""
    projection = store.projection
    config, anchors = projection.field.config, projection.graph.anchors
    if allowed is None:
        order, ends = store.lists()
    else:
        order, ends = cell_lists(allowed, store.columns.cell, len(anchors))
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    share = max(config.pool, int(config.probe_share * len(order))) if n_probe is None else 1
    want = min(len(order), max(k, share))
    half = 0.5 * anchors.square().sum(1)
    parts, cells, rows = [], [], []
    for i in range(len(queries.points)):
        some = queries.part(slice(i, i + 1))
        near = torch.argsort(some.points[0] @ anchors.T - half, descending=True, stable=True)
        ranked = np.append(near.cpu().numpy(), len(anchors))  # rows without cell come last
        ranked = ranked[sizes[ranked] > 0]
        stop = max(int(np.searchsorted(np.cumsum(sizes[ranked]), want)) + 1, n_probe or 1)
        found = np.concatenate([order[starts[c] : ends[c]] for c in ranked[:stop]])
        found.sort()
        scored = _gather(store, found, store.decode(found), None)
        places, terms = _rank(projection, some, scored, k)
        parts.append((found[places.cpu().numpy()], terms))
        cells.append(min(stop, len(ranked)))
        rows.append(len(found))
    return _collect(store, parts, cells, rows)
