"""Whether a diagonal Jacobian per anchor makes residual codes better.

========== ===================================================================
r          residual of a row in the field's rotated coordinates
J_c        diagonal, (d,): the root mean square of each component among the residuals of cell c,
           drawn to that of all cells as if `PRIOR` more rows had it
plain      r is coded as it is
jacobians  J_c⁻¹r is coded, and J_c times its decoded form is read
========== ===================================================================

J is learnt from the even rows; both ways are scored on the odd ones. Stored, J takes 4·m·d bytes
beside the anchors.
"""

from __future__ import annotations

from typing import Any

import torch

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.codec.codes import decode, encode
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.evaluation.bench.data import DEPTH, Vectors, recall

PRIOR = 128


def measure(vectors: Vectors) -> dict[str, Any]:
    """Squared error as a share of ρ², and recall@10 of the odd rows, both ways at each width."""
    index = EnergyIndex.fit(vectors.rows, EnergyConfig.plain(4), device="cpu")
    projection = index.field.projection("cpu")
    points, _ = projection.project(vectors.rows)
    queries, _ = projection.project(vectors.queries)
    cell = torch.from_numpy(index.columns.cell).long()
    residuals = points - projection.graph.anchors[cell]
    scales = _scales(residuals[::2], cell[::2], index.field.n_anchors)
    rows, cell = residuals[1::2], cell[1::2]
    anchors = projection.graph.anchors[cell]
    wanted = (queries @ points[1::2].T).topk(DEPTH, dim=1).indices.numpy()
    out = []
    for bits in BIT_CHOICES:
        line: dict[str, Any] = {"bits": bits}
        for name, scale in (("plain", torch.ones(())), ("jacobians", scales[cell])):
            read = torch.from_numpy(decode(encode(rows / scale, bits), rows.shape[1])) * scale
            found = (queries @ (anchors + read).T).topk(DEPTH, dim=1).indices.numpy()
            line[name] = {
                "error": float((rows - read).square().sum() / rows.square().sum()),
                "recall@10": recall(found, wanted),
            }
        out.append(line)
    return {
        "vectors": vectors.name,
        "rows": len(rows),
        "anchors": index.field.n_anchors,
        "widths": out,
    }


def _scales(residuals: torch.Tensor, cell: torch.Tensor, cells: int) -> torch.Tensor:
    """J of every cell; (m, d)."""
    squares = residuals.square()
    sums = torch.zeros(cells, residuals.shape[1]).index_add_(0, cell, squares)
    rows = torch.bincount(cell, minlength=cells)[:, None]
    means = (sums + PRIOR * squares.mean(0)) / (rows + PRIOR)
    return means.sqrt().clamp_min(1e-12)
