"""Splitting of anchors of high dispersion along the local gradient.

========== ===================================================================
G_a        dispersion of anchor a on the bootstrap graph: 1 where one edge holds all energy,
           which is a place that the anchors around it describe badly
∇_a        Σ_b w_ab (b − a) / Σ_b w_ab, the local gradient: where the heat of a would flow
split      a → a + ½·∇_a and a − ½·∇_a
========== ===================================================================
"""

from __future__ import annotations

import torch

from energy_plugin.energy.blocks import EPS


def local_gradients(anchors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """∇ of each anchor, (m, d); zero where an anchor has no edge."""
    degree = weights.sum(1, keepdim=True)
    flow = (weights @ anchors) / degree.clamp_min(EPS) - anchors
    return torch.where(degree > 0, flow, torch.zeros_like(flow))


def split_dispersed(
    anchors: torch.Tensor, weights: torch.Tensor, dispersion: torch.Tensor, share: float
) -> torch.Tensor:
    """Anchors with the most dispersed ones split in two.

    Parameters
    ----------
    anchors : tensor of shape (m, d)
    weights : tensor of shape (m, m)
        Of the bootstrap graph.
    dispersion : tensor of shape (m,)
        G of each anchor on it.
    share : float
        Share of the anchors that are split, those of highest G; none at 0.

    Returns
    -------
    tensor of shape (m + splits, d)
        An anchor that is split becomes its upper half; the lower halves stand at the end, in
        the order of falling G. Anchors without a gradient are not split.
    """
    gradient = local_gradients(anchors, weights)
    moves = gradient.norm(dim=1) > EPS
    ranked = torch.argsort(torch.where(moves, dispersion, -1.0), descending=True, stable=True)
    chosen = ranked[: min(int(share * len(anchors)), int(moves.sum()))]
    out = anchors.clone()
    out[chosen] += 0.5 * gradient[chosen]
    return torch.cat([out, anchors[chosen] - 0.5 * gradient[chosen]])
