"""Words and vectors in one field: lexical scores become heat in the query's graph.

========== ===================================================================
E, B, β    scaled similarities, scaled lexical scores, share of the words; see `words`
f          (1 − β')E + β'B over the candidates, β' = `PULL`·β
q'         normalise(q − η_q(q − p·Y)), Y the rows of largest f, p their weights max(0, f)^power
E'         scaled ⟨q', Y⟩
B'         B + η_B·max(0, PB − B) in the graph of the pool: words reach rows without them
f'         (1 − β)E' + βB', then f' + η·max(0, Pf' − f'), P of `local`
d          λ and G terms, and w_D·D(L + S·f'), where E' = (⟨q', y⟩ − L)/S
========== ===================================================================

Candidates are the union of both sides: the rows that are nearest by base distance and those of
largest lexical score, `words.SCALE` of each. A list longer than the pool goes on by the f that
its rows have, and behind the candidates in base order, both shifted by constants so that
distances ascend; nothing depends on k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import inner, unit
from energy_plugin.energy.fit.heat import stochastic
from energy_plugin.energy.search import local
from energy_plugin.energy.search.ranking import Prepared, Ranked
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.energy.search.words import SCALE, Words, scaled

PULL = 1.25  # words choose the rows that pull the query a little more than they rank


def finish(
    store: RowStore, queries: Prepared, *, positions: torch.Tensor, base: torch.Tensor, k: int
) -> Ranked:
    """Rank rows that are in base order together with the rows that words find.

    As `ranking.finish`; `queries.words` holds the lexical scores.
    """
    words = queries.words
    assert words is not None
    projection = store.projection
    config, heat = projection.field.config, projection.field.scalars.heat
    energies = projection.energies
    union = _Union.of(positions, base, words)
    device = queries.points.device
    places = torch.from_numpy(union.positions).to(device)  # (b, c)
    open_ = torch.from_numpy(union.open).to(device)
    core = torch.from_numpy(union.core).to(device)
    mixed = Mixture(torch.from_numpy(union.scores).to(device), core)
    y = unit(store.rows_at(places))  # (b, c, d)
    rows = store.scalars().take(places)
    real = rows.real
    share = words.share
    similarity = inner(queries.points, y)
    first, _, _ = mixed.of(similarity, real, min(1.0, PULL * share))
    count = min(config.query_neighbours, max(1, int(core.sum(1).min()) // 8))
    pull = first.masked_fill(~real, -torch.inf).topk(count, dim=1)
    weights = stochastic(pull.values, config.weight_power)
    moved = local.pulled(
        queries.points, local.picked(y, pull.indices), weights, heat * config.lexical_heat
    )
    similarity = inner(moved, y)
    f, low, span = mixed.of(similarity, real, share)

    # the pool: the best of the core, in whose graph heat flows
    size = min(config.pool, int(core.sum(1).min()))
    pool = f.topk(size, dim=1).indices
    f_pool, in_pool = f.gather(1, pool), local.picked(y, pool)
    edges = min(config.local_neighbours, max(1, size // 8))
    if size > 1 and heat > 0:
        graph = local.edges(in_pool, real.gather(1, pool), edges, config.weight_power)
        b = mixed.lexical.gather(1, pool)
        spread = local.flowed(b[:, None], graph, heat * config.lexical_flow)[:, 0]
        f_pool = f_pool + share * (spread - b)
        f_pool = local.flowed(f_pool[:, None], graph, heat * config.local_heat)[:, 0]
    f = f.scatter(1, pool, f_pool)
    tier = torch.where(core, 1, 2).scatter(1, pool, 0)
    tier = torch.where(open_, tier, 3)

    plain = energies.dirichlet_term(similarity)
    terms = [
        energies.lambda_term(queries.lambda_[:, None], rows.lambda_),
        energies.dispersion_term(queries.dispersion[:, None], rows.dispersion),
        plain,
    ]
    if not rows.all_real:
        pairs = zip(terms, energies.worst, strict=True)
        terms = [torch.where(rows.real, term, worst) for term, worst in pairs]
    reached = low + torch.where(span > 0, span, 1.0) * f
    total = terms[0] + terms[1] + energies.dirichlet_term(reached)
    total = torch.where(tier == 2, torch.from_numpy(union.base).to(device), total)
    total = _ascending(total, tier)
    order = _order(total, tier, places)[:, :k]
    lexical_term = total - terms[0] - terms[1] - terms[2]
    picked = tuple(term.gather(1, order) for term in (*terms, total, lexical_term))
    return Ranked(places.gather(1, order), picked)


class Mixture:
    """Scaled lexical scores B (b, c) of the core, which similarities are mixed with."""

    def __init__(self, scores: torch.Tensor, core: torch.Tensor) -> None:
        self._core = core
        self.lexical, _, _ = scaled(scores.masked_fill(~core, -torch.inf), SCALE, least=0.0)

    def of(
        self, similarity: torch.Tensor, real: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """F (b, c), −inf outside the core, and L and S of the similarities, (b, 1).

        Candidates without direction have E = 0.
        """
        known = similarity.masked_fill(~(self._core & real), -torch.inf)
        e, low, span = scaled(known, SCALE)
        f = (1 - share) * torch.where(real, e, 0.0) + share * self.lexical
        return torch.where(self._core, f, -torch.inf), low, span


class _Union:
    """Candidates of both sides and what follows them, padded to one width; all (b, c)."""

    def __init__(self, lists: Sequence[tuple[NDArray[Any], ...]]) -> None:
        shape = len(lists), max(len(each[0]) + len(each[2]) for each in lists)
        self.positions = np.zeros(shape, dtype=np.int64)
        self.base = np.zeros(shape, dtype=np.float32)  # distances; of the tail alone
        self.scores = np.zeros(shape, dtype=np.float32)
        self.core = np.zeros(shape, dtype=bool)
        self.open = np.zeros(shape, dtype=bool)  # no padding
        for i, (core, scores, tail, base) in enumerate(lists):
            c, all_ = len(core), len(core) + len(tail)
            self.positions[i, :c], self.positions[i, c:all_] = core, tail
            self.scores[i, :c], self.base[i, c:all_] = scores, base
            self.core[i, :c], self.open[i, :all_] = True, True

    @classmethod
    def of(cls, positions: torch.Tensor, base: torch.Tensor, words: Words) -> _Union:
        """Rows in base order, and the best by words."""
        near, distances = positions.cpu().numpy(), base.cpu().numpy()
        lists = []
        for i, known in enumerate(np.isfinite(distances)):
            rows, scores = words.of(i)
            first = near[i, :SCALE][known[:SCALE]]
            core = np.union1d(first, rows[_largest(scores, SCALE)])
            at = rows.searchsorted(core).clip(max=len(rows) - 1)
            found = np.where(rows[at] == core, scores[at], np.float32(0))
            rest, after = near[i, SCALE:][known[SCALE:]], distances[i, SCALE:][known[SCALE:]]
            new = np.isin(rest, core, invert=True)
            lists.append((core, found, rest[new], after[new]))
        return cls(lists)


def _largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the largest scores, falling; ties to the smaller place."""
    if len(scores) > 4 * count:  # keep all that tie with the last one
        floor = np.partition(scores, len(scores) - count)[len(scores) - count]
        some = np.flatnonzero(scores >= floor)
        return some[np.argsort(-scores[some], kind="stable")][:count]
    return np.argsort(-scores, kind="stable")[:count]


def _ascending(total: torch.Tensor, tier: torch.Tensor) -> torch.Tensor:
    """Totals with each tier shifted behind the one before."""
    for which in (1, 2):
        mine = tier == which
        before = torch.where(tier < which, total, -torch.inf).amax(1, keepdim=True)
        start = torch.where(mine, total, torch.inf).amin(1, keepdim=True)
        shift = torch.where(start.isfinite(), before - start, 0.0).clamp_min(0)
        total = torch.where(mine, total + shift, total)
    return total


def _order(total: torch.Tensor, tier: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Tier by tier, by total within one; ties go to the smaller position."""
    order = positions.argsort(dim=1, stable=True)
    order = order.gather(1, total.gather(1, order).argsort(dim=1, stable=True))
    return order.gather(1, tier.gather(1, order).argsort(dim=1, stable=True))
