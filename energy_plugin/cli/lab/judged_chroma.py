"""How well plain, energy and hybrid queries of a real collection rank, by judgements."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.evaluation.collection import JudgedCollection
    from energy_plugin.evaluation.vectors import CollectionVectors

DEPTH = 100
BATCH = 5_000


def quality(judged: JudgedCollection, vectors: CollectionVectors) -> dict[str, Any]:
    """Rank the questions of a judged collection in Chroma by all three kinds of query.

    Returns
    -------
    dict
        Means by measure of ``"plain"``, ``"energy"`` and ``"hybrid"``; bytes a row of words and of
        all columns; ``"share"``, what words have learned to count.
    """
    import chromadb
    from energy_chroma import EnergyCollection
    from energy_chroma.stored import word_share

    from energy_plugin.evaluation.measures import measure_run

    with tempfile.TemporaryDirectory() as folder:
        made = chromadb.PersistentClient(folder).create_collection(
            "judged", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )
        ids, documents = list(judged.corpus), list(judged.corpus.values())
        for start in range(0, len(ids), BATCH):
            part = slice(start, start + BATCH)
            made.add(ids=ids[part], embeddings=vectors.corpus[part], documents=documents[part])
        energy = EnergyCollection(made).build(row_columns=False, lexical=True)
        names, texts = list(judged.queries), list(judged.queries.values())
        asked: dict[str, Any] = {
            "query_embeddings": vectors.queries,
            "n_results": min(DEPTH, len(ids)),
            "include": [],
        }
        results = {
            "plain": made.query(**asked),
            "energy": energy.query(**asked),
            "hybrid": energy.query(**asked, query_texts=texts, hybrid=True),
        }
        info = energy.info()
        found: dict[str, Any] = {
            "word_bytes_a_row": info.word_bytes / info.rows,
            "column_bytes_a_row": info.column_bytes / info.rows,
            "share": word_share(energy),
        }
        for kind, got in results.items():
            run = {
                name: {row: -float(rank) for rank, row in enumerate(rows)}
                for name, rows in zip(names, got["ids"], strict=True)
            }
            found[kind] = measure_run(judged.qrels, run, names).mean
    return found
