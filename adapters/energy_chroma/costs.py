"""What energy ranking costs in a Chroma collection: building, opening, asking."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from energy_chroma import EnergyCollection

NAME = "bench"
LATENT, CLUSTERS = 48, 1_000
BATCH = 5_000
RESULTS = 10
# Opens the collection in a new process: nothing is cached but what the system keeps of files.
_FIRST = """
import json, sys, time
import chromadb, numpy, torch
import energy_chroma, energy_plugin.energy.index

queries = numpy.load(sys.argv[2])
start, cpu = time.perf_counter(), time.process_time()
made = chromadb.PersistentClient(sys.argv[1]).get_collection(sys.argv[3])
plain = time.perf_counter()
made.query(query_embeddings=queries[:1])
plain = time.perf_counter() - plain
begin = time.perf_counter()
energy = energy_chroma.EnergyCollection(made)
energy.query(query_embeddings=queries[:1])
end = time.perf_counter()
print(json.dumps({"plain": plain, "energy": end - begin, "cpu": time.process_time() - cpu}))
"""


def clustered(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors that vary in few directions and form clusters, as embeddings of texts do.

    Returns
    -------
    ndarray of shape (n, dim), float32
    """
    rng = np.random.default_rng(seed)
    spread = (1 / np.sqrt(1 + np.arange(LATENT))).astype(np.float32)
    basis = rng.normal(size=(LATENT, dim)).astype(np.float32) / np.sqrt(dim)
    centres = rng.normal(size=(CLUSTERS, LATENT)).astype(np.float32) * spread
    mean = 0.5 * rng.normal(size=dim).astype(np.float32) / np.sqrt(dim)
    out = np.empty((n, dim), dtype=np.float32)
    for start in range(0, n, BATCH):
        count = min(n - start, BATCH)
        inside = 0.4 * spread * rng.normal(size=(count, LATENT)).astype(np.float32)
        rows = (centres[rng.integers(CLUSTERS, size=count)] + inside) @ basis + mean
        rows += 0.05 * rng.normal(size=(count, dim)).astype(np.float32)
        out[start : start + count] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def collection(
    folder: Path, rows: int, dim: int, documents: list[str] | None = None
) -> tuple[Collection, NDArray[np.float32]]:
    """The collection of a folder, made where it is missing, and queries near its rows.

    Rows have the given documents, or short ones that are all alike.

    Raises
    ------
    InvalidInputError
        The folder holds another number of rows.
    """
    import chromadb

    client = chromadb.PersistentClient(str(folder))
    made = client.get_or_create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    vectors = clustered(rows, dim)
    present = made.count()
    if present > rows or (present < rows and present % BATCH):
        raise InvalidInputError(
            f"{folder} holds a collection of {present} rows, not {rows}. Name another folder."
        )
    for start in range(present, rows, BATCH):
        part = range(start, min(rows, start + BATCH))
        made.add(
            ids=[f"r{i}" for i in part],
            embeddings=vectors[part.start : part.stop],
            documents=[
                documents[i] if documents else f"document {i} of the benchmark" for i in part
            ],
            metadatas=[{"n": i} for i in part],
        )
    rng = np.random.default_rng(1)
    near = vectors[rng.integers(rows, size=256)]
    return made, near + 0.01 * rng.normal(size=near.shape).astype(np.float32)


def stored(folder: Path, vectors: NDArray[np.float32]) -> Collection:
    """A new collection of unit vectors, with its field."""
    import chromadb

    from energy_chroma import EnergyCollection

    made = chromadb.PersistentClient(str(folder)).create_collection(
        NAME, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        made.add(ids=[f"r{i}" for i in range(start, start + len(part))], embeddings=part)
    EnergyCollection(made).build()
    return made


def build(made: Collection, *, row_columns: bool, lexical: bool = False) -> dict[str, Any]:
    """Build the field, and time that and the writing of all its chunks, in seconds."""
    from energy_chroma import EnergyCollection, fields
    from energy_chroma.host import ChromaHost
    from energy_chroma.store import FieldStore

    start = time.perf_counter()
    energy = EnergyCollection(made).build(row_columns=row_columns, lexical=lexical)
    total = time.perf_counter() - start
    host = ChromaHost(made)
    store = FieldStore(host)
    live = fields.load(host, store, None)
    start, cpu = time.perf_counter(), time.process_time()
    fields.publish(live, store)  # the same once more, as a generation of its own
    writing = time.perf_counter() - start, time.process_time() - cpu
    store.mark_viewed(live.pointer)
    info = energy.info()
    return {
        "seconds": total,
        "write_seconds": writing[0],
        "write_cpu_seconds": writing[1],
        "field_bytes": info.field_bytes,
        "row_bytes": info.column_bytes / info.rows,
        "word_bytes": info.word_bytes / info.rows,
    }


def first_query(folder: Path, queries: NDArray[np.float32]) -> dict[str, float]:
    """Seconds until the first answer in a new process, imports not counted."""
    file = folder / "queries.npy"
    np.save(file, queries)
    done = subprocess.run(
        [sys.executable, "-c", _FIRST, str(folder), str(file), NAME],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def ways(
    made: Collection, candidates: int, texts: list[str] | None = None
) -> dict[str, Callable[[Any], Any]]:
    """Ways to ask, by name; the first is Chroma's own. With texts, hybrid ones too."""
    from energy_chroma import EnergyCollection

    quick, careful = EnergyCollection(made, watch=False), EnergyCollection(made)

    def asked(energy: EnergyCollection, **how: Any) -> Callable[[Any], Any]:
        return lambda query: energy.query(query_embeddings=[query], n_results=RESULTS, **how)

    def worded(energy: EnergyCollection) -> Callable[[Any], Any]:
        following = itertools.cycle(texts or [""])
        return lambda query: energy.query(
            query_embeddings=[query],
            query_texts=[next(following)],
            hybrid=True,
            n_results=RESULTS,
        )

    hybrid = {} if texts is None else {"hybrid": worded(quick), "hybrid, verified": worded(careful)}
    return {
        "collection.query": lambda query: made.query(query_embeddings=[query], n_results=RESULTS),
        "field": asked(quick),
        "field, verified": asked(careful),
        "field, every row exactly": asked(quick, n_probe="all"),
        f"{candidates} candidates of Chroma": asked(quick, candidates=candidates),
        f"{candidates} candidates, verified": asked(careful, candidates=candidates),
        **hybrid,
    }


def guarantees(made: Collection) -> dict[str, Callable[[Any], Any]]:
    """Chroma's own query, and the field's by how old its view may be; what busy cores meet."""
    from energy_chroma import EnergyCollection

    def asked(energy: Collection | EnergyCollection) -> Callable[[Any], Any]:
        return lambda query: energy.query(query_embeddings=[query], n_results=RESULTS)

    return {
        "plain": asked(made),
        "energy": asked(EnergyCollection(made)),
        "energy, interval 1 s": asked(EnergyCollection(made, read_consistency_interval=1.0)),
    }


def latencies(
    asking: dict[str, Callable[[Any], Any]], queries: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Milliseconds a query of each way, asked in turns so that all meet the same load.

    Wall times p50 and p90, and p50 of the processor time of this process: what a machine that
    does nothing else would come near to.
    """
    for ask in asking.values():
        ask(queries[0])
    wall: dict[str, list[float]] = {name: [] for name in asking}
    cpu: dict[str, list[float]] = {name: [] for name in asking}
    for query in queries:
        for name, ask in asking.items():
            start = time.perf_counter(), time.process_time()
            ask(query)
            cpu[name].append(1e3 * (time.process_time() - start[1]))
            wall[name].append(1e3 * (time.perf_counter() - start[0]))
    first = next(iter(asking))
    return {
        name: {
            "p50_ms": float(np.median(wall[name])),
            "p90_ms": float(np.percentile(wall[name], 90)),
            "cpu_p50_ms": float(np.median(cpu[name])),
            "ratio": float(np.median(wall[name]) / np.median(wall[first])),
            "cpu_ratio": float(np.median(cpu[name]) / np.median(cpu[first])),
        }
        for name in asking
    }


def lines(file: Path, count: int) -> list[str]:
    """The first lines of a text file, gzipped or not.

    Raises
    ------
    InvalidInputError
        It has fewer, or cannot be read.
    """
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as opened:
            found = [line.strip() for line in itertools.islice(opened, count)]
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
