"""Search times of the index, Chroma and LanceDB: alternately, in one process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from energy_plugin._lazy import optional
from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.evaluation.bench.data import DEPTH, FloatArray, Vectors, recall
from energy_plugin.evaluation.bench.peers import lancedb_table
from energy_plugin.evaluation.busy import busy_cores, in_turn

ROUNDS = 5  # of a batch; the best counts
CHROMA_BATCH = 5000

Search = Callable[[FloatArray], Any]


def without_graph(index: EnergyIndex) -> EnergyIndex:
    """The same columns, ranked without heat in the query's graph."""
    config = replace(index.field.config, local_heat=0.0, query_heat=0.0)
    return EnergyIndex.from_columns(
        replace(index.field, config=config), index.columns, device=index.device
    )


def chroma_search(vectors: Vectors, folder: str) -> Search:
    """Chroma's own top-10 query."""
    chromadb = optional("chromadb", "chroma")
    collection = chromadb.PersistentClient(folder).create_collection(
        "rows", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    for start in range(0, len(vectors.rows), CHROMA_BATCH):
        part = vectors.rows[start : start + CHROMA_BATCH]
        names = [str(i) for i in range(start, start + len(part))]
        collection.add(ids=names, embeddings=part)
    return lambda query: collection.query(query_embeddings=query[None], n_results=DEPTH)


def lancedb_search(vectors: Vectors, folder: str) -> Search:
    """LanceDB's own top-10 query over its default vector index."""
    index = optional("lancedb.index", "lancedb")
    table = lancedb_table(vectors, folder, index.IvfPq(distance_type="cosine"))
    return lambda query: table.search(query).limit(DEPTH).to_arrow()


def singles(
    searches: dict[str, Search], queries: FloatArray, *, busy: bool = False
) -> dict[str, dict[str, float]]:
    """Wall and processor time of one query, in ms; the searches take turns.

    With `busy`, also the wall time while every core has other work.
    """
    wall: dict[str, list[float]] = {name: [] for name in searches}
    cpu: dict[str, list[float]] = {name: [] for name in searches}
    for place, query in enumerate(queries):
        for name, search in searches.items():
            start, used = time.perf_counter(), time.process_time()
            search(query)
            if place >= len(queries) // 10:  # the first ones warm up
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - used)
    found = {
        name: {
            "p50_ms": 1000 * float(np.median(wall[name])),
            "p95_ms": 1000 * float(np.percentile(wall[name], 95)),
            "min_ms": 1000 * min(wall[name]),
            "cpu_ms": 1000 * float(np.median(cpu[name])),
        }
        for name in searches
    }
    if busy:
        with busy_cores():
            times = in_turn(searches, list(queries))
        for name in searches:
            found[name] |= {f"busy_{key}": value for key, value in times[name].items()}
    return found


def batch(index: EnergyIndex, queries: FloatArray) -> dict[str, float]:
    """Queries a second of one call, and processor time of a query in ms."""
    index.search(queries[:64], DEPTH)
    best, busy = float("inf"), float("inf")
    for _ in range(ROUNDS):
        start, used = time.perf_counter(), time.process_time()
        index.search(queries, DEPTH)
        best = min(best, time.perf_counter() - start)
        busy = min(busy, time.process_time() - used)
    return {"queries_per_s": len(queries) / best, "cpu_ms": 1000 * busy / len(queries)}


def measure(
    vectors: Vectors,
    *,
    peers: bool = True,
    busy: bool = False,
    config: EnergyConfig | None = None,
) -> dict[str, Any]:
    """Build time, one query, and a batch, with the default ranking and without its graph."""
    import torch

    start = time.perf_counter()
    index = EnergyIndex.fit(vectors.rows, config)
    fit = time.perf_counter() - start
    rankings = {"default": index, "graph off": without_graph(index)}
    out: dict[str, Any] = {
        "rows": len(vectors.rows),
        "dim": vectors.rows.shape[1],
        "anchors": index.field.n_anchors,
        "threads": torch.get_num_threads(),
        "fit_s": fit,
        "rankings": {},
    }
    searches: dict[str, Search] = {}
    for name, made in rankings.items():
        whole = made.search(vectors.queries, DEPTH, n_probe="all").ids
        one = np.concatenate([made.search(q, DEPTH).ids for q in vectors.queries[:200]])
        out["rankings"][name] = {
            **batch(made, vectors.queries),
            "batch_recall@10": recall(made.search(vectors.queries, DEPTH).ids, whole),
            "single_recall@10": recall(one, whole[:200]),
        }
        searches[f"energy, {name}"] = partial(made.search, k=DEPTH)
    if peers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            searches["Chroma"] = chroma_search(vectors, f"{folder}/chroma")
            searches["LanceDB"] = lancedb_search(vectors, f"{folder}/lancedb")
            out["singles"] = singles(searches, vectors.queries[:200], busy=busy)
    else:
        out["singles"] = singles(searches, vectors.queries[:200], busy=busy)
    return out
