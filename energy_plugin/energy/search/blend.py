"""Words and vectors of one query on the CPU: `hybrid` in few steps.

The formulas are those of `hybrid`, `words` and `local`; tests hold both to the same answers. See
`single` for why they stand here once more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import EPS
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.search import hybrid, local
from energy_plugin.energy.search.words import SCALE

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Scene(NamedTuple):
    """One query and its c candidates in the field's coordinates."""

    config: EnergyConfig
    heat: float  # t of the field
    point: Floats  # (d,), the query
    y: Floats  # (c, d), unit rows
    hidden: NDArray[np.bool_] | None  # (c,), rows without direction; None: not one
    terms: Floats  # (c,), those of λ and G together

    def taken(self, some: Places | slice) -> Scene:
        """Of some of the candidates."""
        hidden = None if self.hidden is None else self.hidden[some]
        return self._replace(y=self.y[some], hidden=hidden, terms=self.terms[some])

    def pulled(self, values: Floats, heat: float, most: int) -> Floats:
        """The query after heat from the rows of the largest values, (d,)."""
        count = min(self.config.query_neighbours, most)
        best = largest(values, count)
        weights = np.maximum(values[best], 0) ** np.float32(self.config.weight_power)
        weights /= max(float(weights.sum()), EPS)
        moved = weights.sum() * self.point - weights @ self.y[best]
        moved = self.point - np.float32(self.heat * heat) * moved
        return moved / np.float32(max(float(np.sqrt(moved @ moved)), EPS))

    def graph(self) -> Floats:
        """Weights of the graph of the candidates, (c, c); see `local.edges`."""
        count = len(self.y)
        neighbours = min(self.config.local_neighbours, max(1, count // 8))
        real = np.ones(count, dtype=bool) if self.hidden is None else ~self.hidden
        rows, shown = torch.from_numpy(self.y)[None], torch.from_numpy(real)[None]
        return local.edges(rows, shown, neighbours, self.config.weight_power)[0].numpy()


class Blend(NamedTuple):
    """What words and vectors make of c candidates."""

    total: Floats  # distances, (c,)
    point: Floats  # q', (d,)
    similarity: Floats  # ⟨q', y⟩, without words, (c,)
    pool: Places | slice  # the best, in whose graph heat flowed


def blend(scene: Scene, scores: Floats, share: float) -> Blend:
    """Distances of candidates by vectors and words.

    Parameters
    ----------
    scene : Scene
    scores : ndarray of shape (c,), float32
        0 where no word matches.
    share : float
        β.
    """
    config, heat, count = scene.config, scene.heat, len(scene.y)
    b = _scaled(scores, least=0.0)[0]
    f = _mixed(scene, scene.y @ scene.point, b, min(1.0, hybrid.PULL * share))[0]
    if scene.hidden is not None:
        f[scene.hidden] = -np.inf
    point = scene.pulled(f, config.lexical_heat, max(1, count // 8))
    similarity = scene.y @ point
    f, low, span = _mixed(scene, similarity, b, share)
    size = min(config.pool, count)
    pool: Any = slice(None) if size == count else largest(f, size)
    if size > 1 and heat > 0:
        graph = scene.taken(pool).graph()
        own = b[pool]
        spread = flowed(graph, own, heat * config.lexical_flow)
        warm = f[pool] + np.float32(share) * (spread - own)
        f[pool] = flowed(graph, warm, heat * config.local_heat)
    total = scene.terms + dirichlet(config.weight_dirichlet, low + (span or 1.0) * f)
    if size < count:  # the others stay behind the pool
        rest = np.ones(count, dtype=bool)
        rest[pool] = False
        total[rest] += max(np.float32(0), total[pool].max() - total[rest].min())
    return Blend(total, point, similarity, pool)


def dirichlet(weight: float, similarity: Floats) -> Floats:
    """The D term of similarities."""
    gap = np.sqrt(np.maximum(2 - 2 * similarity, 0))
    out: Floats = np.float32(weight) * (gap / (1 + gap))
    return out


def flowed(graph: Floats, values: Floats, heat: float) -> Floats:
    """Values s after one-way flow, s + η·max(0, Ps − s)."""
    fed = graph.sum(1)
    warmer = (graph @ values - fed * values) / np.maximum(fed, np.float32(EPS))
    out: Floats = values + np.float32(heat) * np.maximum(warmer, 0)
    return out


def largest(values: Floats, count: int) -> Places:
    """Places of the largest values, falling; ties go to the smaller place."""
    return np.argsort(-values, kind="stable")[:count]


def _mixed(
    scene: Scene, similarity: Floats, b: Floats, share: float
) -> tuple[Floats, float, float]:
    """F, L and S."""
    e, low, span = _scaled(similarity, hidden=scene.hidden)
    return np.float32(1 - share) * e + np.float32(share) * b, low, span


def _scaled(
    values: Floats, *, least: float | None = None, hidden: NDArray[np.bool_] | None = None
) -> tuple[Floats, float, float]:
    """As `words.scaled`, with H = `SCALE`; 0 where hidden."""
    shown = values if hidden is None else values[~hidden]
    if len(shown) == 0:
        return np.zeros_like(values), 0.0, 0.0
    high, short = float(shown.max()), len(shown) < SCALE
    if len(shown) > SCALE:
        shown = np.partition(shown, len(shown) - SCALE)[len(shown) - SCALE :]
    low = float(shown.min())
    if least is not None and short:
        low = min(low, least)
    if not high - low > 1e-6:
        return np.zeros_like(values), 0.0, 0.0
    out = (values - np.float32(low)) / np.float32(high - low)
    return out if hidden is None else np.where(hidden, np.float32(0), out), low, high - low
