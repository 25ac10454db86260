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
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.search import local
from energy_plugin.energy.search.ranking import Prepared, Ranked
from energy_plugin.energy.search.rows import RowStore, Scalars
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
    projection, device = store.projection, queries.points.device
    union = _Union.of(positions, base, words)
    places = torch.from_numpy(union.positions).to(device)  # (b, c)
    core = None if union.core.all() else torch.from_numpy(union.core).to(device)
    rows = store.scalars().take(places)
    terms, total, pool = _mixed(
        projection,
        queries,
        store.rows_at(places),
        rows,
        lexical=torch.from_numpy(union.scores).to(device),
        share=words.share,
        core=core,
    )
    tier = torch.ones_like(places) if core is None else torch.where(core, 1, 2)
    tier = tier.scatter(1, pool, 0)
    if core is not None:
        tier = torch.where(torch.from_numpy(union.open).to(device), tier, 3)
        total = torch.where(tier == 2, torch.from_numpy(union.base).to(device), total)
    total = _ascending(total, tier)
    order = _order(total, tier, places)[:, :k]
    lexical_term = total - terms[0] - terms[1] - terms[2]
    picked = tuple(term.gather(1, order) for term in (*terms, total, lexical_term))
    return Ranked(places.gather(1, order), picked)


def _mixed(
    projection: Projection,
    queries: Prepared,
    rows: torch.Tensor,
    scalars: Scalars,
    *,
    lexical: torch.Tensor,
    share: float,
    core: torch.Tensor | None = None,
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Terms and distances of candidates by vectors and words.

    Parameters
    ----------
    projection : Projection
    queries : Prepared
        Of b queries.
    rows : tensor of shape (b, c, d)
    scalars : Scalars
        Of shape (b, c).
    lexical : tensor of shape (b, c)
        Scores; 0 where no word matches.
    share : float
        β.
    core : tensor of shape (b, c), bool, optional
        Candidates of either side; all of them if not given.

    Returns
    -------
    terms : list of 3 tensors of shape (b, c)
        λ, G and D without words.
    total : tensor of shape (b, c)
        Distances of the core; meaningless elsewhere.
    pool : tensor of shape (b, p), int64
        The best of the core, in whose graph heat flows.
    """
    config, heat = projection.field.config, projection.field.scalars.heat
    energies, real = projection.energies, scalars.real
    least = rows.shape[1] if core is None else int(core.sum(1).min())
    y = unit(rows)
    mixture = _Mixture(lexical, core, None if scalars.all_real else real)
    similarity = inner(queries.points, y)
    first, _, _ = mixture.of(similarity, min(1.0, PULL * share))
    if not scalars.all_real:
        first = first.masked_fill(~real, -torch.inf)
    pull = first.topk(min(config.query_neighbours, max(1, least // 8)), dim=1)
    weights = stochastic(pull.values, config.weight_power)
    near = local.picked(y, pull.indices)
    moved = local.pulled(queries.points, near, weights, heat * config.lexical_heat)
    similarity = inner(moved, y)
    f, low, span = mixture.of(similarity, share)

    size = min(config.pool, least)
    pool = f.topk(size, dim=1).indices
    edges = min(config.local_neighbours, max(1, size // 8))
    if size > 1 and heat > 0:
        in_pool, real_pool = local.picked(y, pool), real.gather(1, pool)
        graph = local.edges(in_pool, real_pool, edges, config.weight_power)
        b, f_pool = mixture.lexical.gather(1, pool), f.gather(1, pool)
        spread = local.flowed(b[:, None], graph, heat * config.lexical_flow)[:, 0]
        f_pool = f_pool + share * (spread - b)
        f_pool = local.flowed(f_pool[:, None], graph, heat * config.local_heat)[:, 0]
        f = f.scatter(1, pool, f_pool)

    terms = [
        energies.lambda_term(queries.lambda_[:, None], scalars.lambda_),
        energies.dispersion_term(queries.dispersion[:, None], scalars.dispersion),
        energies.dirichlet_term(similarity),
    ]
    if not scalars.all_real:
        pairs = zip(terms, energies.worst, strict=True)
        terms = [torch.where(real, term, worst) for term, worst in pairs]
    reached = low + torch.where(span > 0, span, 1.0) * f
    return terms, terms[0] + terms[1] + energies.dirichlet_term(reached), pool


class _Mixture:
    """Scaled lexical scores B (b, c) of the core, which similarities are mixed with."""

    def __init__(
        self, scores: torch.Tensor, core: torch.Tensor | None, real: torch.Tensor | None
    ) -> None:
        self._core, self._real = core, real
        if core is not None:
            scores = scores.masked_fill(~core, -torch.inf)
        self.lexical, _, _ = scaled(scores, SCALE, least=0.0)

    def of(
        self, similarity: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """F (b, c), −inf outside the core, and L and S of the similarities, (b, 1).

        Candidates without direction have E = 0.
        """
        known = similarity
        for some in (self._core, self._real):
            if some is not None:
                known = known.masked_fill(~some, -torch.inf)
        e, low, span = scaled(known, SCALE)
        if self._real is not None:
            e = torch.where(self._real, e, 0.0)
        f = (1 - share) * e + share * self.lexical
        return f if self._core is None else torch.where(self._core, f, -torch.inf), low, span


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
            lists.append(union(near[i][known], distances[i][known], *words.of(i)))
        return cls(lists)


def union(
    near: NDArray[np.int64],
    base: NDArray[np.float32],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Candidates of both sides, and what follows them.

    Parameters
    ----------
    near, base : ndarray of shape (w,)
        Rows in base order, and their distances.
    rows, scores : ndarray of shape (m,)
        Rows that words find, ascending, and their scores.

    Returns
    -------
    core, found : ndarray of shape (c,)
        Candidates, ascending, and their scores.
    tail, after : ndarray of shape (t,)
        The other rows in base order, and their distances.
    """
    core = np.union1d(near[:SCALE], rows[_largest(scores, SCALE)])
    at = rows.searchsorted(core).clip(max=len(rows) - 1)
    found = np.where(rows[at] == core, scores[at], np.float32(0))
    tail, after = near[SCALE:], base[SCALE:]
    new = np.isin(tail, core, invert=True)
    return core, found, tail[new], after[new]


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
