"""The energy field written from its formulas, in plain numpy and loops: the tests' oracle.

Nothing here is fast, and nothing is shared with the package but the stored arrays.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


def unit(rows):
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def nearest(rows, k):
    """k rows of highest cosine of each row, itself left out."""
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def dirichlet_form(rows, neighbours):
    """C: the mean outer product of differences over the edges of the row graph."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for i, row in enumerate(neighbours):
        for j in row:
            difference = rows[i] - rows[j]
            total += np.outer(difference, difference)
    return total / neighbours.size


def dirichlet_metric(form, gamma, exponent):
    values, axes = np.linalg.eigh(form / np.trace(form) * len(form))
    scale = (np.maximum(values, 0) + gamma) ** -exponent
    return axes @ np.diag(scale / scale.max()) @ axes.T


def mean_similarity(rows):
    """Mean inner product over ordered pairs of different rows."""
    n = len(rows)
    gram = rows @ rows.T
    return (gram.sum() - np.trace(gram)) / (n * (n - 1))


def neighbourhood_similarity(rows, reach):
    """ν: the mean similarity among the `reach` rows nearest to each row."""
    near = np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :reach]
    return np.mean([mean_similarity(rows[some]) for some in near])


def heat_step(rows, neighbours, heat, power):
    out = np.empty_like(rows)
    for i, near in enumerate(neighbours):
        weights = np.array([max(0.0, rows[i] @ rows[j]) ** power for j in near])
        if weights.sum() == 0:
            out[i] = rows[i]
            continue
        weights /= weights.sum()
        mean = sum(w * rows[j] for w, j in zip(weights, near, strict=True))
        out[i] = rows[i] - heat * (rows[i] - mean)
    return unit(out)


def laplacian(weights):
    return np.diag(weights.sum(1)) - weights


def signal(point, anchors, bandwidth, affinity):
    """s on all anchors, zero beyond the nearest `affinity`."""
    squared = ((anchors - point) ** 2).sum(1)
    out = np.zeros(len(anchors))
    near = np.argsort(squared, kind="stable")[:affinity]
    out[near] = np.exp(-(squared[near] - squared[near[0]]) / (2 * bandwidth**2))
    return out


def energies(point, anchors, weights, bandwidth, affinity):
    """E, the Rayleigh quotient, and G, the dispersion of its edges."""
    s = signal(point, anchors, bandwidth, affinity)
    rough = s @ laplacian(weights) @ s / (s @ s)
    edges = [
        weights[a, b] * (s[a] - s[b]) ** 2
        for a in range(len(anchors))
        for b in range(a + 1, len(anchors))
    ]
    total = sum(edges)
    return rough, (sum((e / total) ** 2 for e in edges) if total > 0 else 0.0)


def taumode(rough, dispersion, tau, alpha):
    return alpha * rough / (rough + tau) + (1 - alpha) * dispersion


def dirichlet(similarity):
    gap = np.sqrt(np.maximum(0, 2 - 2 * similarity))
    return gap / (1 + gap)


def level_table(bits):
    """Mean of N(0, 1) inside each interval, by numerical integration."""
    grid = np.linspace(-9, 9, 2_000_001)
    density = np.exp(-(grid**2) / 2)
    cumulated = np.array([NORMAL.cdf(x / 3**0.5) for x in grid[::200]])
    code = np.floor(np.interp(grid, grid[::200], cumulated) * 2**bits).astype(int)
    code = code.clip(0, 2**bits - 1)
    mass = np.bincount(code, density, 2**bits)
    return np.bincount(code, density * grid, 2**bits) / mass


def encode_decode(residual, bits, table):
    """What one residual becomes: quantise with the compander, correct, decode."""
    dim = len(residual)
    sigma = np.linalg.norm(residual) / dim**0.5
    if sigma == 0:
        return np.zeros(dim)
    u = np.array([NORMAL.cdf(r / sigma / 3**0.5) for r in residual])
    level = table[np.minimum(np.floor(u * 2**bits).astype(int), 2**bits - 1)]
    kappa = residual @ residual / (sigma * (residual @ level))
    return sigma * kappa * level


def joined(query, candidates, *, heat, query_heat, neighbours, query_neighbours, power):
    """s + η·max(0, Ps − s), s = ⟨q', y⟩, after the query joined the graph of its candidates."""
    y = unit(candidates)
    to_query = y @ query
    near = np.argsort(-to_query, kind="stable")[:query_neighbours]
    weights = np.maximum(0, to_query[near]) ** power
    mean = weights @ y[near] / weights.sum() if weights.sum() > 0 else query
    moved = unit(query - query_heat * (query - mean))
    temperature = y @ moved
    out = temperature.copy()
    for i, around in enumerate(nearest(y, neighbours)):
        weights = np.maximum(0, y[around] @ y[i]) ** power
        if weights.sum() > 0:
            warmer = weights @ temperature[around] / weights.sum() - temperature[i]
            out[i] += heat * max(0.0, warmer)
    return out


def search(query, lambda_q, dispersion_q, rows, lambdas, dispersions, field):
    """Ids and distances of all rows, by the two-stage rule of the index."""
    config, scalars = field.config, field.scalars
    cap = 8.0
    lambda_term = config.weight_lambda * np.minimum(
        cap, np.abs(lambda_q - lambdas) / scalars.scale_lambda
    )
    dispersion_term = config.weight_dispersion * np.minimum(
        cap, np.abs(dispersion_q - dispersions) / scalars.scale_dispersion
    )
    others = lambda_term + dispersion_term
    base = others + config.weight_dirichlet * dirichlet(rows @ query)
    order = np.argsort(base, kind="stable")
    pool = order[: config.pool]
    similarity = joined(
        query,
        rows[pool],
        heat=scalars.heat * config.local_heat,
        query_heat=scalars.heat * config.query_heat,
        neighbours=min(config.local_neighbours, max(1, len(pool) // 8)),
        query_neighbours=min(config.query_neighbours, max(1, len(pool) // 8)),
        power=config.weight_power,
    )
    final = others[pool] + config.weight_dirichlet * dirichlet(similarity)
    best = np.argsort(final, kind="stable")
    tail = base[order[config.pool :]]
    if len(tail):
        tail = tail + max(0.0, final.max() - tail[0])
    ids = np.concatenate([pool[best], order[config.pool :]])
    return ids, np.concatenate([final[best], tail])


def trimmed_means(points, cell, squared, previous, trim):
    """Mean of each cell without its farthest ⌊trim·size⌋ rows."""
    out = previous.copy()
    for c in range(len(previous)):
        rows = np.flatnonzero(cell == c)
        if len(rows):
            ranked = rows[np.argsort(squared[rows], kind="stable")]
            out[c] = points[ranked[: len(rows) - int(trim * len(rows))]].mean(0)
    return out


def bootstrap_weights(anchors, k):
    """W of L0: exp(−‖a − b‖²/2h²) over each anchor's k nearest, h the median edge."""
    gaps = np.linalg.norm(anchors[:, None] - anchors[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    near = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    lengths = np.sort(np.take_along_axis(gaps, near, axis=1).ravel())
    bandwidth = lengths[(len(lengths) - 1) // 2]
    weights = np.zeros((len(anchors), len(anchors)))
    for a, row in enumerate(near):
        for b in row:
            weights[a, b] = weights[b, a] = np.exp(-(gaps[a, b] ** 2) / (2 * bandwidth**2))
    return weights, bandwidth


def diffuse(points, weights, heat, steps):
    """X ← X − η·D⁻¹LX."""
    for _ in range(steps):
        points = points - heat * (laplacian(weights) @ points) / weights.sum(1, keepdims=True)
    return points


def energy_laplacian(anchors, config):
    """L of the edges exp(−d_energy) between the flowed anchors; and the bandwidth."""
    k = min(config.affinity_anchors, len(anchors) - 1)
    first, bandwidth = bootstrap_weights(anchors, k)
    both = [energies(a, anchors, first, bandwidth, k) for a in anchors]
    rough, dispersion = np.array(both).T
    tau = np.sort(rough)[round(0.5 * (len(rough) - 1))]
    lambdas = taumode(rough, dispersion, tau, config.alpha)
    flowed = diffuse(anchors, first, config.anchor_heat, config.anchor_heat_steps)
    gaps = np.linalg.norm(flowed[:, None] - flowed[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    ahead = unit(flowed)
    weights = np.zeros((len(anchors), len(anchors)))
    for a in range(len(anchors)):
        for b in np.argsort(gaps[a], kind="stable")[:k]:
            distance = (
                config.weight_lambda
                * min(8.0, abs(lambdas[a] - lambdas[b]) / robust_scale(lambdas))
                + config.weight_dispersion
                * min(8.0, abs(dispersion[a] - dispersion[b]) / robust_scale(dispersion))
                + config.weight_dirichlet * dirichlet(ahead[a] @ ahead[b])
            )
            weights[a, b] = weights[b, a] = np.exp(-distance)
    return laplacian(weights), bandwidth


def robust_scale(values):
    """1.4826·MAD with lower medians."""
    middle = (len(values) - 1) // 2
    scale = 1.4826 * np.sort(np.abs(values - np.sort(values)[middle]))[middle]
    return scale if scale > 1e-6 else 1.0


def split_dispersed(anchors, weights, dispersion, share):
    """a ± ½∇_a in place of the most dispersed anchors; lower halves at the end."""
    out, lower = anchors.copy(), []
    ranked = np.argsort(-dispersion, kind="stable")[: int(share * len(anchors))]
    for a in ranked:
        gradient = sum(weights[a, b] * (anchors[b] - anchors[a]) for b in range(len(anchors)))
        gradient /= weights[a].sum()
        out[a] = anchors[a] + gradient / 2
        lower.append(anchors[a] - gradient / 2)
    return np.array([*out, *lower])


def optical_compression(anchors, rows, budget, flat, trim):
    """Bins on a quantile grid, high norms trimmed, least active bins pooled; (b, d), members."""
    m, side = len(anchors), max(1, int((2 * budget) ** 0.5))
    rank = [np.argsort(np.argsort(flat[:, axis], kind="stable"), kind="stable") for axis in (0, 1)]
    squares = (rank[0] * side // m) * side + rank[1] * side // m
    bins = [np.flatnonzero(squares == s).tolist() for s in np.unique(squares)]
    norm = np.linalg.norm(anchors, axis=1)
    kept = set()
    for members in bins:
        by_norm = sorted(members, key=lambda a: norm[a])
        kept.update(by_norm[: len(members) - min(int(trim * len(members)), len(members) - 1)])

    def centre(members):
        some = [a for a in members if a in kept]
        return np.average(anchors[some], axis=0, weights=rows[some])

    while len(bins) > budget:
        least = min(range(len(bins)), key=lambda i: rows[bins[i]].sum())
        own = centre(bins[least])
        gaps = [
            np.inf if i == least else ((centre(b) - own) ** 2).sum() for i, b in enumerate(bins)
        ]
        target = int(np.argmin(gaps))
        bins[target] = bins[target] + bins[least]
        del bins[least]
    member = np.empty(m, dtype=int)
    for i, members in enumerate(bins):
        member[members] = i
    return np.array([centre(members) for members in bins]), member
