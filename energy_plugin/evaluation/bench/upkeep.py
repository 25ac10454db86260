"""Recall while rows are added without a refit, after `maintain`, and after `refit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.evaluation.bench.data import DEPTH, Vectors, exact_top, recall

PROBES = 16
SHARES = (0.1, 0.5)  # of the fitted rows, that come later
SPLIT_SEED = 0


def measure(vectors: Vectors, *, bits: int = 4) -> list[dict[str, Any]]:
    """Recall@10 of exact cosine, of every row and of the nearest cells, by the codec alone.

    Rows come in the order of their first principal axis, so that the later ones lie where the
    field has seen few: the hard case. A second pass takes them at random.
    """
    out = []
    centred = vectors.rows - vectors.rows.mean(0)
    axis = np.linalg.svd(centred[:: max(1, len(centred) // 2000)], full_matrices=False)[2][0]
    orders = {
        "along the first axis": np.argsort(centred @ axis, kind="stable"),
        "at random": np.random.default_rng(SPLIT_SEED).permutation(len(centred)),
    }
    for name, order in orders.items():
        for share in SHARES:
            rows = vectors.rows[order]
            fitted = round(len(rows) / (1 + share))
            some = Vectors(vectors.name, rows, vectors.queries)
            wanted = exact_top(some)
            index = EnergyIndex.fit(rows[:fitted], EnergyConfig.plain(bits))
            index.add(rows[fitted:])
            states = {"added": _state(index, some, wanted)}
            report = index.maintain(rows)
            states["maintained"] = _state(index, some, wanted)
            states["refitted"] = _state(index.refit(rows), some, wanted)
            out.append(
                {
                    "order": name,
                    "share": share,
                    "rows": len(rows),
                    "merged": report.merged,
                    "split": report.split,
                    "recoded": report.recoded,
                    "states": states,
                }
            )
    return out


def _state(index: EnergyIndex, vectors: Vectors, wanted: Any) -> dict[str, float]:
    every = index.search(vectors.queries, DEPTH, n_probe="all").ids
    near = index.search(vectors.queries, DEPTH, n_probe=PROBES)
    return {
        "recall@10": recall(every, wanted),
        f"recall@10, {PROBES} cells": recall(near.ids, wanted),
        "rows_scored": float(near.work.rows_scored.mean()),
        "distortion": index.drift().distortion,
        "cells": index.field.n_anchors,
    }
