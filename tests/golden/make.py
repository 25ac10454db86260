"""Stores of format version 1, as this release writes them; `python tests/golden/make.py FOLDER`.

Run by hand when a format version is released, into a folder of its own (`v2` for version 2, beside
`v1`), never to make a test pass: what stands here has to stay readable. A folder holds

=================== ==========================================================
core/field.bin      `EnergyField.to_bytes()`
core/columns.bin    the columns of its rows, queries, and the answers to them
lancedb/            table ``pages`` with energy columns, some rows lowered to fewer bits, and
                    table ``notes`` with its columns in a companion table
chroma/             collection ``docs`` with a companion collection, some rows lowered
answers.json        ids and distances of the hosts' answers to the queries
writer.json         versions of the libraries that wrote it
=================== ==========================================================
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.energy_data import clustered

ROWS, DIM = 60, 16
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
WRITERS = ("chromadb", "lancedb", "pylance", "pyarrow", "safetensors")
NAMES = ("lambda_", "dispersion", "cell", "residual")


def vectors():
    """The rows of every store, and the queries."""
    return clustered(ROWS, DIM, topics=5)[0], clustered(4, DIM, topics=5, seed=7)[0]


def ids():
    """Ids with what must not end a literal."""
    odd = ["it's", 'say "so"', "a\nb", "'; DROP TABLE pages; --", "naïve – 文字", "50% _x_ \\"]
    return [f"{odd[i % 6]} {i}" if i % 3 == 0 else f"r{i}" for i in range(ROWS)]


def days():
    """Moment of each row: row i is 10·i days old."""
    return [NOW - timedelta(days=10 * i) for i in range(ROWS)]


def config():
    """Every store's."""
    from energy_plugin.energy import EnergyConfig

    return EnergyConfig(n_anchors=8, bits=8)


def core(folder):
    """Field and columns."""
    from energy_plugin.energy import EnergyIndex
    from energy_plugin.energy.codec.packing import dumps

    rows, queries = vectors()
    index = EnergyIndex.fit(rows, config(), device="cpu")
    found = index.search(queries, 10)
    arrays = {name: getattr(index.columns, name) for name in NAMES}
    arrays.update(queries=queries, ids=found.ids, distances=found.distances)
    folder.mkdir(parents=True)
    (folder / "field.bin").write_bytes(index.field.to_bytes())
    metadata = {"format_version": "1", "field": index.field.fingerprint}
    (folder / "columns.bin").write_bytes(dumps(arrays, metadata))


def lancedb(folder):
    """Both layouts, compacted to their last version; the answers of each."""
    import lancedb
    import pyarrow as pa
    from energy_lancedb import EnergyTable

    database = lancedb.connect(folder)
    rows, queries = vectors()
    flat = pa.array(rows.ravel())
    answers = {}
    data = pa.table(
        {
            "id": ids(),
            "seen": pa.array(days(), pa.timestamp("us", tz="UTC")),
            "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
        }
    )
    for name, layout in (("pages", "columns"), ("notes", "companion")):
        energy = EnergyTable(database.create_table(name, data)).build(config(), layout=layout)
        if name == "pages":
            energy.forget(NOW, time_key="seen", dry_run=False)
        energy.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        answers[name] = lancedb_answers(energy, queries)
    for name in database.list_tables().tables:
        database.open_table(name).optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    return answers


def lancedb_answers(energy, queries):
    """Ten nearest rows of each query."""
    found = energy.search(queries).select(["id"]).limit(10).to_arrow()
    return {
        "ids": np.array(found["id"].to_pylist()).reshape(len(queries), -1).tolist(),
        "distances": found["_distance"].to_numpy().reshape(len(queries), -1).tolist(),
    }


def chroma(folder):
    """One collection with row columns; its answers."""
    import chromadb
    from energy_chroma import EnergyCollection

    rows, queries = vectors()
    made = chromadb.PersistentClient(str(folder)).create_collection(
        "docs", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    seen = [moment.timestamp() for moment in days()]
    made.add(
        ids=ids(),
        embeddings=rows,
        documents=[f"text of {name}" for name in ids()],
        metadatas=[{"n": i, "seen": when} for i, when in enumerate(seen)],
    )
    energy = EnergyCollection(made).build(config())
    energy.forget(NOW, time_key="seen", dry_run=False)
    return {"docs": chroma_answers(energy, queries)}


def chroma_answers(energy, queries):
    """Ten nearest rows of each query."""
    found = energy.query(query_embeddings=queries, n_results=10, include=["distances"])
    return {"ids": found["ids"], "distances": found["distances"]}


def main(folder):
    """Write all stores into a new folder."""
    folder.mkdir()
    core(folder / "core")
    answers = {**lancedb(folder / "lancedb"), **chroma(folder / "chroma")}
    (folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    versions = {name: version(name) for name in ("energy-plugin", *WRITERS)}
    (folder / "writer.json").write_text(json.dumps(versions, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
