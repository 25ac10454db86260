"""How fast rows become columns on Ray, with the anchors that a table of a given size gets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from energy_lancedb.costs import clustered
from energy_lancedb.fragments import BATCH_ROWS
from energy_lancedb.table import EnergyTable
from energy_plugin._lazy import optional

ROUNDS = 4  # fragments of each worker


@dataclass(frozen=True)
class MapCosts:
    """Seconds of a build by sample, and its speed."""

    planned: int  # rows of the table that the anchors are for
    anchors: int
    sample: int
    mapped: int  # rows that became columns by field and sample
    workers: int
    fit_seconds: float  # of the sample
    map_seconds: float  # of the other rows: reading, computing, writing and the commits
    rows_per_second: float  # and worker
    rows_per_cpu_second: float  # of the computing alone, in this process and on one thread


def measure_map(
    folder: Path,
    *,
    planned: int,
    sample: int,
    mapped: int,
    workers: int,
    dim: int = 384,
    seed: int = 0,
) -> MapCosts:
    """Build a field by sample on Ray workers of this machine, or those of a running cluster.

    Parameters
    ----------
    folder : Path
        An empty folder for the database.
    planned : int
        Rows of the table that the number of anchors is to suit.
    sample, mapped : int
        Rows that the field is fitted on, and rows beside them.
    workers : int
        That Ray has.
    dim, seed : int
        Of random clustered vectors.
    """
    import lancedb
    import torch

    from energy_plugin.energy import EnergyConfig
    from energy_plugin.energy.fit.mapping import RowMapper, sample_config

    ray = optional("ray", "ray")
    config = sample_config(EnergyConfig(seed=seed), planned, sample)
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        # with their libraries, as they are after the first of many fragments
        ready = ray.remote(_ready)
        ray.get([ready.remote() for _ in range(workers)])
        vectors = clustered(sample + mapped, dim, seed)
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim)
        rows = pa.table({"id": pa.array(np.arange(len(vectors))), "vector": values})
        step = -(-len(vectors) // (ROUNDS * workers))
        table = lancedb.connect(folder).create_table("rows", rows.slice(0, step))
        for start in range(step, len(vectors), step):
            table.add(rows.slice(start, step))
        energy = EnergyTable(table).build(config, engine="ray", sample=sample)
    finally:
        if started:
            ray.shutdown()
    snapshot = energy._live.snapshot()
    mapper = RowMapper(snapshot.field, snapshot.index.columns)
    batch = vectors[sample : sample + BATCH_ROWS]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cpu = time.process_time()
        mapper.columns(batch)
        cpu = time.process_time() - cpu
    finally:
        torch.set_num_threads(threads)
    times = energy.last_build
    assert times is not None  # a build has just ended
    return MapCosts(
        planned=planned,
        anchors=snapshot.field.n_anchors,
        sample=sample,
        mapped=mapped,
        workers=workers,
        fit_seconds=times.fit,
        map_seconds=times.write,
        rows_per_second=mapped / times.write / workers,
        rows_per_cpu_second=len(batch) / cpu,
    )


def _ready() -> None:
    import energy_plugin.energy.fit.mapping  # noqa: F401

    time.sleep(0.5)  # so that each worker gets one
