"""What the plugin costs a LanceDB table, measured beside LanceDB's own search."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_lancedb.fragments import BATCH_ROWS
from energy_lancedb.layout import LoadedRows
from energy_lancedb.snapshot import snapshot_of
from energy_lancedb.table import EnergyTable

TOPICS = 400
SPREAD = 0.8  # of the rows around their topic, whose norm is about 1
LIMIT = 10
NAME = "rows"


@dataclass(frozen=True)
class Costs:
    """Seconds, milliseconds (medians) and bytes; see the fields' remarks."""

    rows: int
    dim: int
    read_seconds: float
    fit_seconds: float
    write_seconds: float  # what the build adds to the computing
    unindexed_rows: int  # of the user's vector index after the build
    open_seconds: float  # a new handle, the field, the columns, the first answer
    native_ms: float  # LanceDB's own IVF_RQ query, refined
    energy_ms: float  # the energy query with rows from the table, as `native_ms`
    probe_ms: float  # as `energy_ms`, of `nprobes` cells
    rank_ms: float  # the ranking alone
    nprobes: int
    refine: int
    map_rows_per_second: float  # of rows outside a sample, by one process: see `build(sample=)`
    memory_rows: int
    memory_bytes: int | None  # of that many rows with their index, opened
    memory_asked_bytes: int | None  # the same after an answer, with the decoded rows it keeps


def clustered(rows: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors around topics, (rows, dim)."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(TOPICS, dim)).astype(np.float32) / np.float32(dim**0.5)
    noise = rng.normal(size=(rows, dim)).astype(np.float32) / np.float32(dim**0.5)
    vectors = topics[rng.integers(0, TOPICS, rows)] + SPREAD * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def measure(
    folder: Path,
    vectors: NDArray[np.float32] | None = None,
    *,
    rows: int = 100_000,
    dim: int = 384,
    queries: int = 50,
    nprobes: int = 20,
    refine: int = 5,
    memory_rows: int = 1_000_000,
    seed: int = 0,
) -> Costs:
    """Make a table of vectors, build a field on it, and time both searches.

    Parameters
    ----------
    folder : Path
        An empty folder for the database.
    vectors : ndarray of shape (n, d), float32, optional
        Unit rows, of which the last `queries` are asked; random clustered ones unless given.
        Those vary in all directions alike, which vectors of texts do not.
    rows, dim, queries : int
    nprobes, refine : int
        Of LanceDB's query on its IVF_RQ index (1 bit, √rows partitions); `nprobes` also of the
        energy query with a number of cells.
    memory_rows : int
        Rows whose index is held in memory to be weighed: columns of the table, repeated.
    seed : int
    """
    from lancedb.index import IvfRq

    from energy_plugin.energy.fit.mapping import RowMapper

    if vectors is None:
        vectors = clustered(rows + queries, dim, seed)
    rows, dim = len(vectors) - queries, vectors.shape[1]
    asked, vectors = vectors[rows:], vectors[:rows]
    table = _table(folder, vectors)
    partitions = max(1, round(rows**0.5))
    table.create_index("vector", config=IvfRq(distance_type="cosine", num_partitions=partitions))
    times = EnergyTable(table).build().last_build
    assert times is not None  # a build has just ended
    indexes = [index for index in table.list_indices() if index.columns == ["vector"]]

    started = time.perf_counter()
    energy = EnergyTable(open_table(folder))
    energy.search(asked[0]).limit(LIMIT).to_arrow()
    opened = time.perf_counter() - started

    def native(query: NDArray[np.float32]) -> Any:
        search: Any = table.search(query)
        search = search.distance_type("cosine").nprobes(nprobes)
        chosen = search.refine_factor(refine).limit(LIMIT).select(["id", "text", "_distance"])
        return chosen.to_arrow()

    def ranked(query: NDArray[np.float32]) -> Any:
        return energy.search(query).limit(LIMIT).select(["id", "text"]).to_arrow()

    def probed(query: NDArray[np.float32]) -> Any:
        search = energy.search(query).nprobes(nprobes).limit(LIMIT)
        return search.select(["id", "text"]).to_arrow()

    index = energy._live.snapshot().index
    medians = _medians(asked, [native, ranked, probed, lambda q: index.search(q, LIMIT)])
    mapper = RowMapper(energy.field, index.columns)
    batch = vectors[:BATCH_ROWS]
    started = time.perf_counter()
    mapper.columns(batch)
    mapped = len(batch) / (time.perf_counter() - started)
    weight = _memory(energy, memory_rows, asked[0])
    return Costs(
        rows=rows,
        dim=dim,
        read_seconds=times.read,
        fit_seconds=times.fit,
        write_seconds=times.write,
        unindexed_rows=int(indexes[0].num_unindexed_rows or 0),
        open_seconds=opened,
        native_ms=medians[0],
        energy_ms=medians[1],
        probe_ms=medians[2],
        rank_ms=medians[3],
        nprobes=nprobes,
        refine=refine,
        map_rows_per_second=mapped,
        memory_rows=memory_rows,
        memory_bytes=weight[0],
        memory_asked_bytes=weight[1],
    )


def stored(folder: Path, vectors: NDArray[np.float32]) -> Any:
    """A new table of unit vectors, with its field."""
    table = _table(folder, vectors)
    EnergyTable(table).build()
    return table


def open_table(folder: Path) -> Any:
    """The table that `measure` or `stored` made in a folder."""
    import lancedb

    return lancedb.connect(folder).open_table(NAME)


def guarantees(table: Any) -> dict[str, Callable[[Any], Any]]:
    """LanceDB's search of every vector, and the field's by how old its view may be."""

    def flat(query: NDArray[np.float32]) -> Any:
        search: Any = table.search(query).distance_type("cosine").bypass_vector_index()
        return search.limit(LIMIT).select(["id", "text", "_distance"]).to_arrow()

    def asked(energy: EnergyTable) -> Callable[[Any], Any]:
        return lambda query: energy.search(query).limit(LIMIT).select(["id", "text"]).to_arrow()

    return {
        "plain, flat": flat,
        "energy": asked(EnergyTable(table)),
        "energy, interval 1 s": asked(EnergyTable(table, read_consistency_interval=1.0)),
    }


def _table(folder: Path, vectors: NDArray[np.float32]) -> Any:
    import lancedb

    rows, dim = vectors.shape
    return lancedb.connect(folder).create_table(
        NAME,
        pa.table(
            {
                "id": pa.array(np.arange(rows)),
                "text": pa.array([f"row {i}" for i in range(rows)]),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            }
        ),
    )


def _medians(queries: NDArray[np.float32], searches: list[Callable[[Any], Any]]) -> list[float]:
    """Median milliseconds of each search; they take turns, so that a busy machine hits all."""
    for search in searches:
        search(queries[0])
    taken: list[list[float]] = [[] for _ in searches]
    for query in queries:
        for place, search in enumerate(searches):
            started = time.perf_counter()
            search(query)
            taken[place].append(1e3 * (time.perf_counter() - started))
    return [float(np.median(each)) for each in taken]


def _resident() -> int | None:
    """Bytes of this process in memory, freed ones returned; None where /proc does not tell."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    import resource

    return pages * resource.getpagesize()


def _memory(
    energy: EnergyTable, rows: int, query: NDArray[np.float32]
) -> tuple[int | None, int | None]:
    """What an index of that many rows, by the columns of another, adds to the process."""
    snapshot = energy._live.snapshot()
    columns = snapshot.index.columns
    before = _resident()
    if before is None or len(columns) == 0:
        return None, None
    picks = np.arange(rows) % len(columns)
    loaded = LoadedRows(
        rowids=np.arange(rows, dtype=np.uint64),
        columns=columns.take(picks),
        fingerprints=snapshot.fingerprints[picks],
        stale=np.empty(0, dtype=np.uint64),
        stale_vectors=np.empty((0, snapshot.pointer.dim), dtype=np.float32),
        changed=np.empty(0, dtype=bool),
        emptied=np.empty(0, dtype=np.uint64),
        without_vector=0,
    )
    many = snapshot_of(-1, snapshot.pointer, snapshot.field, loaded)
    del loaded, picks
    many.find_rowids(many.rowids[:1])
    opened = _resident()
    many.index.search(query, LIMIT)
    asked = _resident()
    if opened is None or asked is None:
        return None, None
    return opened - before, asked - before
