"""How well plain, energy and hybrid queries of a real collection rank, by judgements."""

from __future__ import annotations

import gzip
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin.errors import InvalidInputError

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
            "share": energy._keeper.open().pointer.share,
        }
        for kind, got in results.items():
            run = {
                name: {row: -float(rank) for rank, row in enumerate(rows)}
                for name, rows in zip(names, got["ids"], strict=True)
            }
            found[kind] = measure_run(judged.qrels, run, names).mean
    return found


def lines(file: Path, count: int) -> list[str]:
    """The first lines of a text file, gzipped or not.

    Raises
    ------
    InvalidInputError
        It has fewer, or cannot be read.
    """
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as opened:
            found = [line.strip() for line in islice(opened, count)]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file} cannot be read as text ({error}).") from error
    if len(found) < count:
        raise InvalidInputError(f"{file} has {len(found)} lines, expected {count}. Ask for fewer.")
    return found


def questions(documents: list[str], count: int, words: int = 6, seed: int = 0) -> list[str]:
    """Some words of some documents, as questions."""
    rng = np.random.default_rng(seed)
    some = [documents[row].split() for row in rng.integers(len(documents), size=count)]
    return [" ".join(rng.choice(each, size=words)) if each else "" for each in some]
