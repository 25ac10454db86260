"""Recall per byte: the residual codes beside the rivals', every row scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.evaluation.bench.data import DEPTH, Vectors, exact_top, recall
from energy_plugin.evaluation.bench.peers import (
    Answer,
    eden_answers,
    faiss_answers,
    lancedb_answers,
)

NEAR = 1.15  # a rival of up to this many times the bytes is compared, and any smaller one
CELL_BYTES = 4


def own_answers(vectors: Vectors) -> Iterator[Answer]:
    """The codec alone, `EnergyConfig.plain`; code and cell count as bytes."""
    for bits in (1, 2, 4, 8):
        index = EnergyIndex.fit(vectors.rows, EnergyConfig.plain(bits))
        size = index.columns.residual.shape[1] + CELL_BYTES
        found = index.search(vectors.queries, DEPTH, n_probe="all").ids
        yield Answer(f"energy {bits} bit", size, found)


def measure(
    vectors: Vectors, *, lancedb: bool = True, note: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """Recall@10 of exact search for each codec.

    Parameters
    ----------
    vectors : Vectors
    lancedb : bool, default True
        Build LanceDB's indexes as well, which takes longest.
    note : callable
        Called with each codec's name before it is scored.
    """
    from energy_plugin.energy.fit.anchors import default_count

    wanted = exact_top(vectors)
    cells = default_count(len(vectors.rows))
    sources = [own_answers(vectors), faiss_answers(vectors, cells), eden_answers(vectors)]
    if lancedb:
        sources.append(lancedb_answers(vectors))
    results = []
    for source in sources:
        for answer in source:
            note(answer.name)
            results.append(
                {
                    "name": answer.name,
                    "bytes": answer.bytes,
                    "recall@10": recall(answer.found, wanted),
                }
            )
    return {
        "vectors": vectors.name,
        "rows": len(vectors.rows),
        "dim": vectors.rows.shape[1],
        "queries": len(vectors.queries),
        "codecs": results,
        "at": _pairs(results),
    }


def _pairs(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each of the residual codes and the best rival of about its bytes or fewer."""
    pairs = []
    for own in results:
        if not own["name"].startswith("energy"):
            continue
        near = [
            rival
            for rival in results
            if not rival["name"].startswith("energy") and rival["bytes"] <= NEAR * own["bytes"]
        ]
        if near:
            best = max(near, key=lambda rival: float(rival["recall@10"]))
            pairs.append({"bytes": own["bytes"], "energy": own, "rival": best})
    return pairs
