"""How well searches of a real LanceDB table rank, by judgements, and what they take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from energy_plugin.evaluation.collection import JudgedCollection
    from energy_plugin.evaluation.vectors import CollectionVectors

DEPTH = 100
AGAINST = "hybrid, RRFReranker"  # whose time is 1


def quality(judged: JudgedCollection, vectors: CollectionVectors) -> dict[str, dict[str, float]]:
    """Rank the questions of a judged collection in LanceDB by each kind of search.

    Returns
    -------
    dict
        By kind of search: means by measure, ``"ms"``, the median of a search, and ``"times"``,
        that over the hybrid search with LanceDB's own reranker. The searches take turns at each
        question, so that a busy machine hits all.
    """
    from energy_plugin.evaluation.measures import measure_run

    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(folder, judged, vectors)
        runs: dict[str, dict[str, Any]] = {kind: {} for kind in ways}
        taken: dict[str, list[float]] = {kind: [] for kind in ways}
        texts = list(judged.queries.values())
        for search in ways.values():
            search(vectors.queries[0], texts[0])
        asked = zip(judged.queries, texts, vectors.queries, strict=True)
        for name, text, vector in asked:
            for kind, search in ways.items():
                started = time.perf_counter()
                found = search(vector, text)
                taken[kind].append(1e3 * (time.perf_counter() - started))
                ids = found["id"].to_pylist()
                runs[kind][name] = {row: -float(rank) for rank, row in enumerate(ids)}
    medians = {kind: float(np.median(each)) for kind, each in taken.items()}
    return {
        kind: {
            **measure_run(judged.qrels, run, list(judged.queries)).mean,
            "ms": medians[kind],
            "times": medians[kind] / medians[AGAINST],
        }
        for kind, run in runs.items()
    }


def _ways(
    folder: str, judged: JudgedCollection, vectors: CollectionVectors
) -> dict[str, Callable[[Any, str], Any]]:
    """Searches of one table by vector and text, as Arrow tables."""
    import lancedb
    import pyarrow as pa
    from energy_lancedb import EnergyReranker, EnergyTable
    from lancedb.index import FTS
    from lancedb.rerankers import RRFReranker

    rows = np.ascontiguousarray(vectors.corpus, dtype=np.float32)
    table: Any = lancedb.connect(folder).create_table(
        "judged",
        pa.table(
            {
                "id": pa.array(list(judged.corpus), pa.string()),
                "text": pa.array(list(judged.corpus.values()), pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(rows.reshape(-1), rows.shape[1]),
            }
        ),
    )
    table.create_index("text", config=FTS())
    energy = EnergyTable(table).build()
    fusion, ranker = RRFReranker(), EnergyReranker(energy)
    named = ["id", "text"]
    near = [*named, "_distance"]

    def plain(vector: Any, text: str) -> Any:
        return table.search(vector).distance_type("cosine").limit(DEPTH).select(near)

    def both(vector: Any, text: str) -> Any:
        asked = table.search(query_type="hybrid").vector(vector).text(text)
        return asked.distance_type("cosine").limit(DEPTH)

    def words(vector: Any, text: str) -> Any:
        return table.search(text, query_type="fts").limit(DEPTH)

    return {
        "vectors": lambda v, t: plain(v, t).to_arrow(),
        "words": lambda v, t: words(v, t).select([*named, "_score"]).to_arrow(),
        "vectors, EnergyReranker": lambda v, t: (
            table.search(v)
            .distance_type("cosine")
            .limit(DEPTH)
            .rerank(ranker.for_vector(v), query_string=t)
            .to_arrow()
        ),
        "words, EnergyReranker": lambda v, t: words(v, t).rerank(ranker.for_vector(v)).to_arrow(),
        AGAINST: lambda v, t: both(v, t).rerank(fusion).to_arrow(),
        "hybrid, EnergyReranker": lambda v, t: both(v, t).rerank(ranker.for_vector(v)).to_arrow(),
        "EnergyTable": lambda v, t: energy.search(v).limit(DEPTH).select(named).to_arrow(),
        "EnergyTable, hybrid": lambda v, t: (
            energy.search(query_type="hybrid").vector(v).text(t).limit(DEPTH).to_arrow()
        ),
    }
