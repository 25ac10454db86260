"""Fit a field on a collection: the whole recipe, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import unit
from energy_plugin.energy.codec.rotation import rotation
from energy_plugin.energy.columns import EnergyColumns
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.distance import Energies, robust_scale
from energy_plugin.energy.field import EnergyField, Scalars
from energy_plugin.energy.fit import laplacian, metric
from energy_plugin.energy.fit.anchors import assign, cell_means, default_count, fit_anchors
from energy_plugin.energy.fit.encoding import encoded
from energy_plugin.energy.fit.grid import optical_compression
from energy_plugin.energy.fit.heat import smooth
from energy_plugin.energy.fit.neighbours import (
    EXACT_ROWS,
    cell_neighbours,
    exact_neighbours,
    neighbour_count,
)
from energy_plugin.energy.fit.splitting import split_dispersed
from energy_plugin.energy.projection import transform
from energy_plugin.energy.search import relevance
from energy_plugin.energy.taumode import AnchorGraph, choose_tau, taumode
from energy_plugin.validation import as_device

if TYPE_CHECKING:
    from collections.abc import Callable

COARSE_STEPS = 5  # of the first tessellation, which only serves the neighbour search


def row_graph(rows: torch.Tensor, config: EnergyConfig) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Neighbours (n, k) of unit rows, and the coarse cells (n,) they were found in, if any."""
    n = len(rows)
    k = neighbour_count(n, config.neighbours)
    if n <= EXACT_ROWS:
        return exact_neighbours(rows, k), None
    coarse = fit_anchors(
        rows, config.n_anchors or default_count(n), seed=config.seed, steps=COARSE_STEPS
    )
    cell, _ = assign(rows, coarse)
    return cell_neighbours(rows, k, cell, coarse), cell


def energy_weights(anchors: torch.Tensor, config: EnergyConfig) -> tuple[torch.Tensor, float]:
    """W of the energy Laplacian (m, m), and the bandwidth h of the signals."""
    m = len(anchors)
    if m < 2:
        return torch.zeros(m, m, dtype=torch.float32, device=anchors.device), 1.0
    k = min(config.affinity_anchors, m - 1)
    _, gaps = laplacian.nearest_edges(anchors, k)
    bandwidth = float(gaps.median()) or 1.0
    first = laplacian.bootstrap_weights(anchors, k)
    flowed = laplacian.diffuse(anchors, first, config.anchor_heat, config.anchor_heat_steps)
    rough, dispersion = AnchorGraph(anchors, first, bandwidth, k).energies(anchors)
    lambda_ = taumode(rough, dispersion, choose_tau(rough, config), config.alpha)
    energies = Energies(config.weights, (robust_scale(lambda_), robust_scale(dispersion)))
    near, _ = laplacian.nearest_edges(flowed, k)
    ahead = unit(flowed)
    similarity = (ahead[:, None, :] * ahead[near]).sum(2)  # (m, k)
    distance = (
        energies.lambda_term(lambda_[:, None], lambda_[near])
        + energies.dispersion_term(dispersion[:, None], dispersion[near])
        + energies.dirichlet_term(similarity)
    )
    return laplacian.symmetric_weights(near, torch.exp(-distance)), bandwidth


def fit_field(
    vectors: NDArray[np.float32],
    config: EnergyConfig,
    *,
    device: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[EnergyField, EnergyColumns]:
    """Learn the field of a collection and the columns of its rows.

    Parameters
    ----------
    vectors : ndarray of shape (n, d), float32
        Checked by `as_vectors`. Rows of zeros get columns, but teach nothing.
    config : EnergyConfig
    device : str, optional
    progress : callable
        Called with the name of each step.

    Returns
    -------
    field : EnergyField
    columns : EnergyColumns
        In the order of the rows.
    """
    where = as_device(device)
    everything = torch.from_numpy(vectors).to(where)
    n, dim = vectors.shape
    none = torch.zeros(dim, dtype=torch.float32, device=where)
    rows, real = transform(everything, none, None)
    if not real.all():
        rows = rows[real]

    progress("row graph")
    similarity = metric.mean_similarity(rows)
    level, short, length = metric.levelled(rows, similarity, config.mean_level)
    near, coarse = row_graph(level, config)
    progress("metric")
    nearby = metric.neighbourhood_similarity(level, config.seed)
    strength = metric.strength(nearby, near.numel(), dim, config)
    related = relevance.related(rows, near)
    form = metric.dirichlet_form(level, near)
    matrix = metric.dirichlet_metric(form, strength.gamma, config.metric_exponent)
    stored_metric = matrix.cpu().numpy().astype(np.float16)
    centre = short + config.centring * length * (level.mean(0) if len(level) else none)
    del level
    rotated = stored_metric.astype(np.float32) @ rotation(dim, config.seed)
    count = len(rows)
    points, _ = transform(rows, centre, torch.from_numpy(rotated).to(where))
    del rows  # a large collection is held no more often than needed
    progress("heat flow")
    heat = strength.heat * config.heat
    smoothed = smooth(points, points, near, heat, config.weight_power)
    progress("anchors")
    anchors = _anchors(smoothed, coarse, config)
    stored_anchors = anchors.cpu().numpy().astype(np.float16)
    anchors = torch.from_numpy(stored_anchors.astype(np.float32)).to(where)
    progress("energy Laplacian")
    weights, bandwidth = energy_weights(anchors, config)
    indptr, indices, data = csr(laplacian.laplacian(weights))
    progress("taumode")
    signals = AnchorGraph(anchors, weights, bandwidth, config.affinity_anchors)
    if count:
        rough, dispersion = signals.energies(points)
    else:
        rough = dispersion = torch.zeros(0, dtype=torch.float32, device=where)
    tau = choose_tau(rough, config) if len(rough) else 1.0
    lambda_ = taumode(rough, dispersion, tau, config.alpha)
    progress("residual codes")
    del points
    cell, squared = assign(smoothed, anchors) if count else (real.nonzero()[:, 0], rough)
    columns = encoded(lambda_, dispersion, smoothed, cell, anchors, real=real, bits=config.bits)
    field = EnergyField(
        config=config,
        n_fitted=n,
        scalars=Scalars(
            similarity=similarity,
            neighbourhood=nearby,
            gamma=strength.gamma,
            heat=strength.heat,
            bandwidth=bandwidth,
            tau=tau,
            scale_lambda=robust_scale(lambda_),
            scale_dispersion=robust_scale(dispersion),
            distortion=float(squared.mean()) if count else 0.0,
            median_lambda=float(lambda_.median()) if count else 0.0,
            related=related,
        ),
        centre=centre.cpu().numpy(),
        metric=stored_metric,
        anchors=stored_anchors,
        laplacian_data=data,
        laplacian_indices=indices,
        laplacian_indptr=indptr,
    )
    return field, columns


def _anchors(
    points: torch.Tensor, coarse: torch.Tensor | None, config: EnergyConfig
) -> torch.Tensor:
    """Anchors of the smoothed rows, warm from the coarse cells if there are any.

    Tessellation, then the two stages that are off by default: optical compression to a budget,
    and splitting of the most dispersed anchors on the bootstrap graph.
    """
    if len(points) == 0:
        return torch.zeros(1, points.shape[1], dtype=torch.float32, device=points.device)
    count = config.n_anchors or default_count(len(points))
    start = None
    steps = config.anchor_steps
    if coarse is not None:
        empty = torch.zeros(
            int(coarse.max()) + 1, points.shape[1], dtype=points.dtype, device=points.device
        )
        start, size = cell_means(points, coarse, empty)
        start = start[size > 0]
        steps = max(2, steps // 2)
    anchors = fit_anchors(
        points, count, seed=config.seed, steps=steps, trim=config.anchor_trim, start=start
    )
    if config.anchor_budget is not None and config.anchor_budget < len(anchors):
        cell, _ = assign(points, anchors)
        held = torch.bincount(cell, minlength=len(anchors))
        anchors, _ = optical_compression(anchors, held, config.anchor_budget, seed=config.seed)
    if config.anchor_split > 0 and len(anchors) > 1:
        k = min(config.affinity_anchors, len(anchors) - 1)
        _, gaps = laplacian.nearest_edges(anchors, k)
        first = laplacian.bootstrap_weights(anchors, k)
        bandwidth = float(gaps.median()) or 1.0
        _, dispersion = AnchorGraph(anchors, first, bandwidth, k).energies(anchors)
        anchors = split_dispersed(anchors, first, dispersion, config.anchor_split)
    return anchors


def csr(
    dense: torch.Tensor,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Row pointers, columns and values of a dense matrix's entries that are not zero."""
    from scipy.sparse import csr_matrix

    sparse = csr_matrix(dense.cpu().numpy().astype(np.float32))
    return (
        sparse.indptr.astype(np.int32),
        sparse.indices.astype(np.int32),
        sparse.data.astype(np.float32),
    )
