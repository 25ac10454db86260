"""The rivals of the codes: faiss, LanceDB's indexes and EDEN, each as bytes and a ranking."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from energy_plugin._lazy import optional
from energy_plugin.energy.codec.rotation import rotation
from energy_plugin.evaluation.bench.data import DEPTH, Vectors

LLOYD_STEPS = 200
ALL_PARTITIONS = 100_000  # more than any table here has


@dataclass(frozen=True)
class Answer:
    """What a codec found."""

    name: str
    bytes: int  # a row, as the codec counts them; ids left out
    found: npt.NDArray[np.int64]  # (q, k)


def faiss_answers(vectors: Vectors, cells: int) -> Iterator[Answer]:
    """Exhaustive search in faiss's codes.

    Parameters
    ----------
    vectors : Vectors
    cells : int
        Of the inverted lists, all of which are searched: as many as the field has anchors.
    """
    faiss = optional("faiss", "bench")
    n, dim = vectors.rows.shape
    specs = [f"RR{dim},RaBitQ{bits}" for bits in ("", 2, 4)]
    specs += [f"RR{dim},IVF{cells},RaBitQ{bits}" for bits in ("", 2, 4)]
    if n >= 256:
        specs += [f"PQ{size}np" for size in (dim // 8, dim // 4, dim // 2) if dim % size == 0]
    # "np": without polysemous training, which takes minutes and serves Hamming filters only
    specs += ["SQ4", "SQ8"]
    for spec in specs:
        index = faiss.index_factory(dim, spec, faiss.METRIC_L2)
        if hasattr(index, "pq"):
            index.pq.cp.min_points_per_centroid = 1  # small collections train without a warning
        index.train(vectors.rows)
        index.add(vectors.rows)
        if "IVF" in spec:
            faiss.extract_index_ivf(index).nprobe = cells
        _, found = index.search(vectors.queries, DEPTH)
        yield Answer(f"faiss {spec}", int(index.sa_code_size()), found.astype(np.int64))


def lloyd_levels(bits: int) -> npt.NDArray[np.float64]:
    """The best scalar quantiser's levels for N(0, 1) (Lloyd 1982, Max 1960)."""
    from scipy.stats import norm

    levels = norm.ppf((np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(LLOYD_STEPS):
        edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        levels = -np.diff(norm.pdf(edges)) / np.diff(norm.cdf(edges))
    return np.asarray(levels)


def eden_answers(vectors: Vectors) -> Iterator[Answer]:
    """EDEN (Vargaftik et al. 2022): rotation, Lloyd–Max levels, the scale ‖x‖²/⟨x, level⟩.

    Of the rows less their mean; a float32 scale a row.
    """
    rows, queries = vectors.rows, vectors.queries
    dim = rows.shape[1]
    mean = rows.mean(0)
    turned = (rows - mean) @ rotation(dim, 1)
    asked = queries @ rotation(dim, 1)
    offset = queries @ mean
    norm = np.linalg.norm(turned, axis=1, keepdims=True)
    for bits in (1, 2, 4):
        levels = lloyd_levels(bits)
        edges = (levels[1:] + levels[:-1]) / 2
        code = np.searchsorted(edges, (turned * (dim**0.5 / np.maximum(norm, 1e-20))).ravel())
        level = levels[code].reshape(turned.shape).astype(np.float32)
        scale = norm[:, 0] ** 2 / np.maximum((turned * level).sum(1), 1e-20)
        found = _best(asked, level * scale[:, None], offset)
        yield Answer(f"EDEN {bits} bit", bits * dim // 8 + 4, found)


def _best(
    queries: npt.NDArray[Any], rows: npt.NDArray[Any], offset: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    import torch

    table, out = torch.from_numpy(np.ascontiguousarray(rows)), []
    for start in range(0, len(queries), 64):
        part = slice(start, start + 64)
        block = torch.from_numpy(np.ascontiguousarray(queries[part]))
        score = block @ table.T + torch.from_numpy(offset[part])[:, None]
        out.append(score.topk(DEPTH, dim=1).indices.numpy())
    return np.concatenate(out)


def lancedb_table(vectors: Vectors, folder: str, config: Any) -> Any:
    """A table of the rows with an index."""
    lancedb, arrow = optional("lancedb", "lancedb"), optional("pyarrow", "lancedb")
    n, dim = vectors.rows.shape
    flat = arrow.array(np.ascontiguousarray(vectors.rows).ravel())
    data = arrow.table(
        {"id": np.arange(n), "vector": arrow.FixedSizeListArray.from_arrays(flat, dim)}
    )
    table = lancedb.connect(folder).create_table("rows", data)
    table.create_index("vector", config=config)
    return table


def lancedb_answers(vectors: Vectors) -> Iterator[Answer]:
    """LanceDB's IVF_RQ and IVF_PQ, every partition searched, without refinement."""
    index = optional("lancedb.index", "lancedb")
    dim = vectors.rows.shape[1]
    kinds = [("IVF_RQ", index.IvfRq(distance_type="l2"), dim // 8 + 8)]
    kinds += [
        (f"IVF_PQ {size}", index.IvfPq(distance_type="l2", num_sub_vectors=size), size)
        for size in (dim // 8, dim // 4, dim // 2)
    ]
    for name, config, size in kinds:
        with tempfile.TemporaryDirectory() as folder:
            table = lancedb_table(vectors, folder, config)
            found = [
                table.search(query)
                .nprobes(ALL_PARTITIONS)
                .select(["id"])
                .limit(DEPTH)
                .to_arrow()["id"]
                .to_pylist()
                for query in vectors.queries
            ]
        wide = [(row + [-1] * DEPTH)[:DEPTH] for row in found]
        yield Answer(f"LanceDB {name}", size, np.array(wide, dtype=np.int64))
