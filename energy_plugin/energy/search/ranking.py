"""From base distances to the final order: the query's pool, its graph, and the tail behind.

The `pool` nearest rows by base distance join the query's graph and are ranked by the distance
after its heat flow. A list longer than the pool continues in base order, with the base
distances shifted by one constant a query so that distances ascend over the whole list. The
pool does not depend on k: the first ten of a hundred results are the ten of a search for ten.
Without any heat in the query's graph, base order is the final order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.projection import Projection
from energy_plugin.energy.search.local import joined_similarity
from energy_plugin.energy.search.rows import RowStore, Scalars
from energy_plugin.energy.search.words import SCALE, Words

TIES = 8
RANK_BLOCK = 1 << 21  # floats of a block's largest temporary: 8 MiB, near the size of caches


@dataclass(frozen=True)
class Prepared:
    """Queries in the field's terms."""

    points: torch.Tensor  # (q, d)
    lambda_: torch.Tensor  # (q,)
    dispersion: torch.Tensor  # (q,)
    words: Words | None = None  # scores of another retriever, which join the ranking

    def part(self, where: slice) -> Prepared:
        """Some of the queries."""
        words = self.words
        if words is not None:
            words = words.take(np.arange(len(words))[where])
        return Prepared(self.points[where], self.lambda_[where], self.dispersion[where], words)

    def take(self, where: NDArray[np.int64]) -> Prepared:
        """Some of the queries, by place."""
        places = torch.from_numpy(where).to(self.points.device)
        words = None if self.words is None else self.words.take(where)
        return Prepared(self.points[places], self.lambda_[places], self.dispersion[places], words)


@dataclass(frozen=True)
class Ranked:
    """The best rows of b queries: positions, terms and distances; each (b, k)."""

    positions: torch.Tensor
    terms: tuple[torch.Tensor, ...]  # λ, G, D, the sum, and the lexical term where words joined


def local_graph(projection: Projection) -> bool:
    """Whether heat flows in the query's graph at all."""
    config, heat = projection.field.config, projection.field.scalars.heat
    return heat > 0 and (config.local_heat > 0 or config.query_heat > 0)


def wanted_rows(projection: Projection, k: int, count: int, words: Words | None = None) -> int:
    """How many rows a query needs in base order, of `count` that may be found."""
    pool = projection.field.config.pool if local_graph(projection) else 1
    if words is not None:
        pool = max(SCALE, projection.field.config.pool)
    return min(max(k, pool), count)


def block_of(projection: Projection, width: int, words: Words | None = None) -> int:
    """Queries of one block, such that its temporaries stay small; width rows scored each."""
    config, dim = projection.field.config, projection.field.dim
    if words is not None:
        width = max(width, 2 * SCALE * dim)
    pool = config.pool if local_graph(projection) else 1
    return max(1, RANK_BLOCK // max(width, pool * max(dim, pool)))


def base_distances(
    projection: Projection, queries: Prepared, similarity: torch.Tensor, rows: Scalars
) -> torch.Tensor:
    """Distances before the query's graph; similarity (b, p), scalars of (p,) or (b, p) rows."""
    config, energies = projection.field.config, projection.energies
    base = energies.dirichlet_term(similarity)
    if config.weight_lambda > 0:
        base = base + energies.lambda_term(queries.lambda_[:, None], rows.lambda_)
    if config.weight_dispersion > 0:
        base = base + energies.dispersion_term(queries.dispersion[:, None], rows.dispersion)
    return base if rows.all_real else torch.where(rows.real, base, sum(energies.worst))


def nearest(base: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places and values of the `count` smallest, ascending; ties go to the smaller place."""
    # a few more than wanted, so that a tie at the border is decided by place and not by count
    some = min(count + TIES, base.shape[1])
    if some < base.shape[1]:
        places = base.topk(some, dim=1, largest=False, sorted=False).indices.sort(1).values
        values, order = base.gather(1, places).sort(dim=1, stable=True)
        return places.gather(1, order[:, :count]), values[:, :count]
    values, order = base.sort(dim=1, stable=True)
    return order[:, :count], values[:, :count]


def finish(
    store: RowStore, queries: Prepared, *, positions: torch.Tensor, base: torch.Tensor, k: int
) -> Ranked:
    """Rank rows that are already in base order.

    Parameters
    ----------
    store : RowStore
    queries : Prepared
    positions : tensor of shape (b, w), int64
        In the store, in base order.
    base : tensor of shape (b, w)
        Their base distances; infinite where a query has fewer rows than w.
    k : int
        At most w.
    """
    projection = store.projection
    energies = projection.energies
    rows = store.scalars().take(positions)
    terms = [
        energies.lambda_term(queries.lambda_[:, None], rows.lambda_),
        energies.dispersion_term(queries.dispersion[:, None], rows.dispersion),
    ]
    if not rows.all_real:
        pairs = zip(terms, energies.worst[:2], strict=True)
        terms = [torch.where(rows.real, term, worst) for term, worst in pairs]
    if not local_graph(projection):
        some = [term[:, :k] for term in terms]
        total = base[:, :k]
        return Ranked(positions[:, :k], (some[0], some[1], total - some[0] - some[1], total))
    config, heat = projection.field.config, projection.field.scalars.heat
    wanted = positions.shape[1]
    pool = min(config.pool, wanted)
    real = rows.real[:, :pool]
    joined = joined_similarity(
        queries.points,
        store.rows_at(positions[:, :pool]),
        real,
        heat=heat * config.local_heat,
        query_heat=heat * config.query_heat,
        neighbours=min(config.local_neighbours, max(1, pool // 8)),
        query_neighbours=min(config.query_neighbours, max(1, pool // 8)),
        power=config.weight_power,
    )
    dirichlet = energies.dirichlet_term(joined)
    if not rows.all_real:
        dirichlet = torch.where(real, dirichlet, energies.worst[2])
    total = terms[0][:, :pool] + terms[1][:, :pool] + dirichlet
    if wanted > pool:
        tail = base[:, pool:]
        shift = (total.amax(1, keepdim=True) - tail[:, :1]).clamp_min(0)
        rest = tail + shift - terms[0][:, pool:] - terms[1][:, pool:]
        dirichlet = torch.cat([dirichlet, rest], 1)
        total = torch.cat([total, tail + shift], 1)
    # ties go to the smaller row number, as positions ascend with them; the tail stays behind
    by_position = positions[:, :pool].argsort(1)
    best = total[:, :pool].gather(1, by_position).argsort(dim=1, stable=True)
    order = by_position.gather(1, best)
    if k > pool:
        rest_order = torch.arange(pool, wanted, dtype=torch.int64, device=order.device)
        rest_order = rest_order.expand(len(order), -1)
        order = torch.cat([order, rest_order], 1)
    order = order[:, :k]
    picked = [term.gather(1, order) for term in (*terms, dirichlet, total)]
    return Ranked(positions.gather(1, order), (picked[0], picked[1], picked[2], picked[3]))
