"""The energy index: results beside those of the CPU, the scan, the fit, a batch."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.codec import scan
from energy_plugin.evaluation.gpu.sizes import Sizes
from energy_plugin.evaluation.gpu.timing import clustered, seconds

K = 10
BITS = 4


def equality(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Fit and search on the device beside the CPU: one field searched by both, and two fits."""
    both = clustered(sizes.equal + 50, sizes.dim, torch.device("cpu")).numpy()
    rows, queries = both[:-50], both[-50:]
    own = EnergyIndex.fit(rows, device="cpu")
    same = EnergyIndex.from_columns(own.field, own.columns, device=device.type)
    other = EnergyIndex.fit(rows, device=device.type)
    few = replace(own.field.config, exhaustive_rows=sizes.equal // 4)
    wanted, got = own.search(queries, K), same.search(queries, K)
    refitted = other.search(queries, K)
    by_codes = EnergyIndex.fit(rows, few, device=device.type).search(queries, K)
    return {
        "rows": len(rows),
        "same ids, one field": float((wanted.ids == got.ids).mean()),
        "largest gap of distances": float(np.abs(wanted.distances - got.distances).max()),
        "shared ids, two fits": _shared(wanted.ids, refitted.ids),
        "shared ids, candidates by codes": _shared(wanted.ids, by_codes.ids),
        "anchors of both fits": [own.field.n_anchors, other.field.n_anchors],
    }


def ranking(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Exhaustive ranking from 4-bit codes, and a copy of the same bytes.

    Codes are random: the time does not depend on them. Without a card, or Triton's interpreter,
    the sums are torch's.
    """
    count, dim = sizes.scanned, sizes.dim
    generator = torch.Generator(device).manual_seed(0)
    codes = scan.Codes(
        words=torch.randint(
            -(2**31),
            2**31 - 1,
            (-(-dim * BITS // scan.WORD), count),
            generator=generator,
            dtype=torch.int32,
            device=device,
        ),
        cell=torch.randint(1000, (count,), generator=generator, dtype=torch.int32, device=device),
        factor=torch.rand(count, generator=generator, device=device),
        share=torch.ones(count, device=device),
        bits=BITS,
    )
    anchors = clustered(1000, dim, device, seed=1)
    points = clustered(1, dim, device, seed=2)
    kernel = device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    scores = codes.scores if kernel else codes.plain_scores

    def rank() -> torch.Tensor:
        return scan.best(scores(points, anchors), 2 * 200)

    parts = (codes.words, codes.cell, codes.factor, codes.share)
    copies = [torch.empty_like(part) for part in parts]

    def copy() -> None:
        for to, part in zip(copies, parts, strict=True):
            to.copy_(part)

    size = sum(part.numel() * part.element_size() for part in parts)
    copied, ranked = (seconds(run, device, sizes.rounds) for run in (copy, rank))
    some = slice(0, min(count, 4096))
    part = replace(
        codes,
        words=codes.words[:, some].contiguous(),
        cell=codes.cell[some],
        factor=codes.factor[some],
        share=codes.share[some],
    )
    plain = part.plain_scores(points, anchors)
    gap = (scores(points, anchors)[:, some] - plain).abs().max() / plain.abs().max()
    return {
        "rows": count,
        "dim": dim,
        "bytes": size,
        "kernel": kernel,
        "rank_s": ranked,
        "copy_s": copied,
        "times the copy": ranked / copied,
        "gap to torch": float(gap),
    }


def fit(sizes: Sizes, device: torch.device) -> dict[str, Any]:
    """Fit of many rows, and a batch of queries on them."""
    made = clustered(sizes.fitted + sizes.searched, sizes.dim, device)
    rows = made[: sizes.fitted].cpu().numpy()
    queries = made[sizes.fitted :].cpu().numpy()
    del made
    start = time.perf_counter()
    index = EnergyIndex.fit(rows, EnergyConfig(bits=BITS), device=device.type)
    fitted = time.perf_counter() - start
    index.search(queries[:2], K)
    start = time.perf_counter()
    index.search(queries, K)
    batch = time.perf_counter() - start
    single = seconds(lambda: index.search(queries[0], K), device, 5 * sizes.rounds)
    return {
        "rows": len(rows),
        "dim": sizes.dim,
        "fit_s": fitted,
        "queries": len(queries),
        "queries_per_second": len(queries) / batch,
        "one_query_s": single,
    }


def _shared(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float:
    """Share of common ids, line by line."""
    pairs = zip(left, right, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))
