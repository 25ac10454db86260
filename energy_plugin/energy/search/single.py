"""One query on the CPU, in as few steps as it takes: what servers ask.

The formulas are those of `ranking`, `local`, `taumode` and `relevance`, for one query, and with
words those of `blend`; `tests/energy/test_single.py` holds both to the same answers. torch
spends a few microseconds on each step of a batch whatever its size, which is most of the time of
one query; numpy spends one. Products stay with torch, whose threads the call has already limited.

========== ===================================================================
few rows   up to `DIRECT` values every row is scored
more       sketches of all components choose twice the wanted rows. The sketch of a row misses
           its similarity by σ = √((s_q² + s_z²)/12)/127, s the peaks; where the last row wanted
           is not `SURE`·σ nearer than the last row chosen, every row is scored after all
beyond     `exhaustive_rows`: sketches choose, as for a batch
========== ===================================================================
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import EPS
from energy_plugin.energy.codec import sketch
from energy_plugin.energy.distance import CAP
from energy_plugin.energy.projection import Projection
from energy_plugin.energy.result import EnergyTerms, SearchResult, SearchWork
from energy_plugin.energy.search import hybrid, ranking
from energy_plugin.energy.search.blend import Scene, blend, dirichlet
from energy_plugin.energy.search.local import OUT
from energy_plugin.energy.search.relevance import scale_of
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.energy.search.words import Words

DIRECT = 1 << 21  # values of rows, 8 MiB, up to which scoring all of them is fastest
SURE = 6.0

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Asked(NamedTuple):
    """A query in the field's terms."""

    point: Floats  # (d,)
    lambda_: float
    dispersion: float


def applies(store: RowStore) -> bool:
    """Whether rows are decoded, kept, on the CPU, and all have a direction."""
    return store.projection.device.type == "cpu" and store.keeps_rows and store.scalars().all_real


def search(
    store: RowStore,
    query: Floats,
    k: int,
    allowed: Places | None,
    *,
    exact: bool,
    words: Words | None = None,
) -> SearchResult | None:
    """The k nearest rows of one query; None where the general way has to be taken.

    Parameters
    ----------
    store : RowStore
        Of which `applies` is true.
    query : ndarray of shape (d,)
    k : int
    allowed : ndarray of int64, optional
        Positions, ascending, not empty; None: all live rows.
    exact : bool
        The answer has to be that of all rows; else sketches alone may choose.
    words : Words, optional
        Scores of the query by another retriever, at least one.
    """
    projection = store.projection
    asked = prepare(projection, query)
    if asked is None:
        return None
    count, cells = store.open_rows() if allowed is None else (len(allowed), store.cells_of(allowed))
    k = min(k, count)
    wanted = ranking.wanted_rows(projection, k, count, words)
    chosen = None
    if not exact:
        chosen = _by_sketches(store, asked, wanted, count, allowed)[0]
    elif len(store) * projection.field.dim > DIRECT and sketch.applies(projection):
        chosen = _sure(store, asked, wanted, count, allowed)
    if chosen is None:
        chosen = _by_rows(store, asked, wanted, count, allowed)
    positions, base = chosen
    if words is None:
        positions, terms = _finish(store, asked, positions, base, k)
        lexical = np.zeros_like(terms[3])
    else:
        positions, terms = _finish_both(store, asked, chosen, words, k)
        lexical = terms[3] - terms[0] - terms[1] - terms[2]
    return SearchResult(
        ids=store.numbers[positions][None],
        distances=terms[3][None],
        terms=EnergyTerms(terms[0][None], terms[1][None], terms[2][None], lexical[None]),
        work=SearchWork(np.array([cells]), np.array([count])),
        relevance=_relevance(store, query, positions)[None],
    )


def prepare(projection: Projection, query: Floats) -> Asked | None:
    """Coordinates, λ and G of a query; None where it has no direction."""
    point = _straight(query)
    if point is None:
        return None
    point = _unit(_product(point - projection.numpy.centre, projection.matrix))
    if not any(projection.field.config.weights[:2]):
        return Asked(point, 0.0, 0.0)
    graph, arrays = projection.graph, projection.numpy
    gain = torch.mv(graph.anchors, torch.from_numpy(point)).numpy() - arrays.half
    near = _largest(gain, min(graph.affinity, len(gain)))  # p anchors, as in `AnchorGraph.energies`
    gain = gain[near]
    s = np.exp((gain - gain[0]) / graph.bandwidth**2)
    inner = arrays.weights[near[:, None], near]
    edge = inner * np.square(s[:, None] - s)
    square = s * s
    outer = np.maximum(arrays.degree[near] - inner.sum(1), 0) * square
    outer2 = np.maximum(arrays.degree2[near] - (inner * inner).sum(1), 0) * square * square
    total = 0.5 * edge.sum() + outer.sum()
    squares = 0.5 * (edge * edge).sum() + outer2.sum()
    dispersion = min(1.0, max(0.0, float(squares / max(total * total, EPS**2))))
    rough = float(total / square.sum())
    scalars, alpha = projection.field.scalars, projection.field.config.alpha
    value = alpha * rough / (rough + scalars.tau) + (1 - alpha) * dispersion
    return Asked(point, value, dispersion)


def _by_rows(
    store: RowStore, asked: Asked, wanted: int, count: int, allowed: Places | None
) -> tuple[Places, Floats]:
    """The wanted rows in base order and their base distances, of all that may be found."""
    rows = store.decoded()
    lambda_, dispersion = store.energies()
    few = allowed is not None and 2 * count < len(store)
    if few:
        rows = rows.index_select(0, torch.from_numpy(allowed))
        lambda_, dispersion = lambda_[allowed], dispersion[allowed]
    similarity = torch.mv(rows, torch.from_numpy(asked.point)).numpy()
    base = _base(store.projection, asked, similarity, lambda_, dispersion)
    if not few and count < len(store):
        open_ = store.alive if allowed is None else np.zeros(len(store), dtype=bool)
        if allowed is not None:
            open_[allowed] = True
        base[~open_] = np.inf
    places = _smallest(base, wanted)
    return (allowed[places] if few and allowed is not None else places), base[places]


def _by_sketches(
    store: RowStore, asked: Asked, wanted: int, count: int, allowed: Places | None
) -> tuple[tuple[Places, Floats], float]:
    """The same of the rows that sketches choose, and the largest similarity of any other row."""
    sketcher, sketches = store.sketches()
    closed = store.open_sketches()[0]
    if allowed is not None:
        mask = np.ones(len(sketches), dtype=bool)
        mask[allowed] = False
        closed = torch.from_numpy(mask)
    some = min(count, sketch.candidates(wanted))
    point, step = sketcher.query(asked.point)
    chosen, scores = sketch.best(point, sketches, some, closed)
    places, least = np.sort(chosen[0]), int(scores[0])
    rows = store.decoded().index_select(0, torch.from_numpy(places))
    similarity = torch.mv(rows, torch.from_numpy(asked.point)).numpy()
    lambda_, dispersion = store.energies()
    base = _base(store.projection, asked, similarity, lambda_[places], dispersion[places])
    best = _smallest(base, wanted)
    error = math.sqrt((step * step + 1 / sketcher.scale**2) / 12)
    beyond = least * step / sketcher.scale + SURE * error if some < count else -1.0
    return (places[best], base[best]), beyond


def _sure(
    store: RowStore, asked: Asked, wanted: int, count: int, allowed: Places | None
) -> tuple[Places, Floats] | None:
    """`_by_sketches` where no other row can be as near; None elsewhere."""
    if not store.sketches()[0].exact:
        return None
    chosen, beyond = _by_sketches(store, asked, wanted, count, allowed)
    gap = math.sqrt(max(0.0, 2 - 2 * beyond))
    nearest_other = store.projection.field.config.weight_dirichlet * gap / (1 + gap)
    return chosen if chosen[1][-1] < nearest_other else None


def _base(
    projection: Projection, asked: Asked, similarity: Floats, lambda_: Floats, dispersion: Floats
) -> Floats:
    """As `ranking.base_distances`."""
    config = projection.field.config
    base = dirichlet(config.weight_dirichlet, similarity)
    if config.weight_lambda > 0:
        base += apart(projection, 0, asked.lambda_, lambda_)
    if config.weight_dispersion > 0:
        base += apart(projection, 1, asked.dispersion, dispersion)
    return base


def _finish(
    store: RowStore, asked: Asked, positions: Places, base: Floats, k: int
) -> tuple[Places, tuple[Floats, Floats, Floats, Floats]]:
    """As `ranking.finish`: positions and λ, G, D and the sum of the k nearest."""
    projection = store.projection
    lambda_, dispersion = store.energies()
    first = apart(projection, 0, asked.lambda_, lambda_[positions])
    second = apart(projection, 1, asked.dispersion, dispersion[positions])
    if not ranking.local_graph(projection):
        first, second, total = first[:k], second[:k], base[:k]
        return positions[:k], (first, second, total - first - second, total)
    config = projection.field.config
    wanted = len(positions)
    pool = min(config.pool, wanted)
    joined = _joined(store, asked.point, positions[:pool])
    third = dirichlet(config.weight_dirichlet, joined)
    total = first[:pool] + second[:pool] + third
    by_position = positions[:pool].argsort()
    order = by_position[total[by_position].argsort(kind="stable")]
    if wanted > pool:
        tail = base[pool:]
        tail = tail + max(np.float32(0), total.max() - tail[0])
        third = np.concatenate([third, tail - first[pool:] - second[pool:]])
        total = np.concatenate([total, tail])
        order = np.concatenate([order, np.arange(pool, wanted)])
    order = order[:k]
    return positions[order], (first[order], second[order], third[order], total[order])


def _finish_both(
    store: RowStore, asked: Asked, chosen: tuple[Places, Floats], words: Words, k: int
) -> tuple[Places, tuple[Floats, Floats, Floats, Floats]]:
    """As `hybrid.finish`: positions and λ, G, D without words and the sum of the k nearest."""
    projection = store.projection
    config, heat = projection.field.config, projection.field.scalars.heat
    lambda_, dispersion = store.energies()
    core, scores, tail, base = hybrid.union(*chosen, *words.of(0))
    places = np.concatenate([core, tail])
    first = apart(projection, 0, asked.lambda_, lambda_[places])
    second = apart(projection, 1, asked.dispersion, dispersion[places])
    terms, y = (first + second)[: len(core)], store.unit_rows(core)
    scene = Scene(config, heat, point=asked.point, y=y, hidden=None, terms=terms)
    found = blend(scene, scores, words.share)
    outside = np.ones(len(core), dtype=bool)
    outside[found.pool] = False
    order = np.lexsort((core, found.total, outside))
    third, total = dirichlet(config.weight_dirichlet, found.similarity), found.total
    if len(tail) and k > len(core):
        known = store.unit_rows(tail) @ found.point
        third = np.concatenate([third, dirichlet(config.weight_dirichlet, known)])
        total = np.concatenate([total, base + max(np.float32(0), total.max() - base[0])])
        order = np.concatenate([order, np.arange(len(core), len(places))])
    order = order[:k]
    return places[order], (first[order], second[order], third[order], total[order])


def _joined(store: RowStore, point: Floats, positions: Places) -> Floats:
    """As `local.joined_similarity`."""
    config, heat = store.projection.field.config, store.projection.field.scalars.heat
    count = len(positions)
    neighbours = min(config.local_neighbours, max(1, count // 8))
    y = store.unit_rows(positions)
    rows = torch.from_numpy(y)
    similarity = torch.mv(rows, torch.from_numpy(point)).numpy()
    if heat * config.query_heat > 0:
        pull = _largest(similarity, min(config.query_neighbours, max(1, count // 8), count))
        weights = np.maximum(similarity[pull], 0) ** np.float32(config.weight_power)
        weights /= max(weights.sum(), EPS)
        moved = weights.sum() * point - weights @ y[pull]
        moved = _unit(point - np.float32(heat * config.query_heat) * moved)
        similarity = torch.mv(rows, torch.from_numpy(moved)).numpy()
    if count == 1 or heat * config.local_heat == 0:
        return similarity
    tensor = torch.mm(rows, rows.T)
    gram = tensor.numpy()
    np.fill_diagonal(gram, OUT)
    place = count - min(neighbours, count - 1)
    floor = np.maximum(np.partition(gram, place)[:, place, None], 0)
    edge = np.greater_equal(gram, floor)
    weights = tensor.clamp_min_(0).pow_(config.weight_power).numpy()
    np.multiply(weights, edge, out=weights)
    around = torch.mm(tensor, torch.from_numpy(np.stack([similarity, np.ones_like(similarity)], 1)))
    fed = around.numpy()[:, 1]
    warmer = (around.numpy()[:, 0] - fed * similarity) / np.maximum(fed, EPS)
    result: Floats = similarity + np.float32(heat * config.local_heat) * np.maximum(warmer, 0)
    return result


def _relevance(store: RowStore, query: Floats, positions: Places) -> Floats:
    """As `relevance.of_rows`."""
    projection = store.projection
    straight = _straight(query)
    back, length = projection.back
    _, middle, scale = scale_of(projection)
    assert straight is not None
    rows = store.decoded().numpy()[positions]
    g = rows @ (np.float32(length) * _product(straight, back)) + straight @ projection.numpy.centre
    out: Floats = (1 / (1 + np.exp((middle - g) / scale))).astype(np.float32)
    return out


def apart(projection: Projection, which: int, own: float, rows: Floats) -> Floats:
    """Term of λ (0) or G (1)."""
    energies = projection.energies
    gap = np.abs(rows - np.float32(own)) / np.float32(energies.scales[which])
    out: Floats = np.float32(energies.weights[which]) * np.minimum(gap, np.float32(CAP))
    return out


def _product(row: Floats, matrix: torch.Tensor) -> Floats:
    out: Floats = torch.mv(matrix.T, torch.from_numpy(row)).numpy()
    return out


def _unit(row: Floats) -> Floats:
    out: Floats = row / np.float32(max(math.sqrt(float(row @ row)), EPS))
    return out


def _straight(query: Floats) -> Floats | None:
    """A query of length one, whatever its length; None of zeros."""
    peak = np.abs(query).max()
    return _unit(query / peak) if peak > 0 else None


def _smallest(values: Floats, count: int) -> Places:
    """As `ranking.nearest`: places of the smallest, ascending; ties go to the smaller place."""
    some = min(count + ranking.TIES, len(values))
    if some == len(values):
        return values.argsort(kind="stable")[:count]
    places = values.argpartition(some - 1)[:some]
    places.sort()
    return places[values[places].argsort(kind="stable")[:count]]


def _largest(values: Floats, count: int) -> Places:
    """Places of the largest, descending."""
    places = values.argpartition(len(values) - count)[len(values) - count :]
    return places[values[places].argsort()[::-1]]
