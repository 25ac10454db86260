"""``energy-plugin lab bench-lancedb``: what the plugin costs a LanceDB table."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from energy_plugin.cli.console import console, print_json, table
from energy_plugin.cli.lab.busy_hosts import show_busy


def command(
    rows: Annotated[int, typer.Option(min=100, help="Rows of the table.")] = 100_000,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions of the vectors.")] = 384,
    queries: Annotated[int, typer.Option(min=1, help="Searches per kind.")] = 50,
    nprobes: Annotated[int, typer.Option(min=1, help="Partitions, or cells, to probe.")] = 20,
    refine: Annotated[int, typer.Option(min=1, help="LanceDB's refine factor.")] = 5,
    memory_rows: Annotated[
        int, typer.Option(min=1, help="Rows of the index whose memory is measured.")
    ] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random vectors.")] = 0,
    vectors: Annotated[
        Path | None,
        typer.Option(
            help="A .npy or .npz file of vectors, instead of random ones; with --data, its vectors."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Judged collection: rank it by each kind of search and reranker."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the database (default: a temporary one).")
    ] = None,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also time queries while every core is busy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time the build and the searches of a LanceDB table beside LanceDB's own IVF_RQ search."""
    from energy_lancedb.costs import clustered, guarantees, measure, open_table

    if data is not None:
        _judge(data, vectors, as_json=as_json)
        return
    if vectors is None:
        given = clustered(rows + queries, dim, seed)
    else:
        from energy_plugin.evaluation.bench.data import read

        known = read(vectors, queries)
        given = np.concatenate([known.rows, known.queries])
    found = None
    with tempfile.TemporaryDirectory() as thrown_away:
        database = folder or Path(thrown_away)
        costs = measure(
            database,
            given,
            rows=rows,
            dim=dim,
            queries=queries,
            nprobes=nprobes,
            refine=refine,
            memory_rows=memory_rows,
            seed=seed,
        )
        if busy:
            from energy_plugin.evaluation.busy import idle_and_busy

            found = idle_and_busy(guarantees(open_table(database)), list(given[-queries:]))
    if as_json:
        print_json(asdict(costs) if found is None else {**asdict(costs), "busy": found})
        return
    made = table(f"{costs.rows:,} rows of {costs.dim} dimensions", "")
    for name, value in (
        ("build: reading the vectors", f"{costs.read_seconds:.2f} s"),
        ("build: computing", f"{costs.fit_seconds:.2f} s"),
        ("build: writing", f"{costs.write_seconds:.2f} s"),
        ("rows that the vector index lost", f"{costs.unindexed_rows:,}"),
        ("opening and the first answer", f"{costs.open_seconds:.2f} s"),
        (f"IVF_RQ, {nprobes} partitions, refine {refine}", f"{costs.native_ms:.1f} ms"),
        ("energy search", f"{costs.energy_ms:.1f} ms"),
        (f"energy search, {nprobes} cells", f"{costs.probe_ms:.1f} ms"),
        ("energy ranking alone", f"{costs.rank_ms:.1f} ms"),
        ("rows mapped a second, one process", f"{costs.map_rows_per_second:,.0f}"),
        (f"index of {memory_rows:,} rows in memory", _megabytes(costs.memory_bytes)),
        ("the same after an answer", _megabytes(costs.memory_asked_bytes)),
    ):
        made.add_row(name, value)
    console().print(made)
    if found is not None:
        show_busy(found)


def _judge(data: Path, vectors: Path | None, *, as_json: bool) -> None:
    from energy_plugin.cli.lab import judged_lancedb
    from energy_plugin.cli.lab.judged import judged

    result = judged_lancedb.quality(*judged(data, vectors))
    if as_json:
        print_json(result)
        return
    against = result[judged_lancedb.AGAINST]
    measures = [name for name in against if name not in ("ms", "times")]
    lines = table("search", *measures, "nDCG@10 over fusion", "ms", "times fusion")
    for kind, one in result.items():
        gain = 100 * (one["ndcg@10"] / max(against["ndcg@10"], 1e-9) - 1)
        values = [f"{one[name]:.3f}" for name in measures]
        lines.add_row(kind, *values, f"{gain:+.1f} %", f"{one['ms']:.1f}", f"{one['times']:.2f}")
    console().print(lines)


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:,.0f} MB"
