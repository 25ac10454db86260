"""``energy-plugin lab bench-map``: how fast the rows of a large table become columns."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, table


def command(
    planned: Annotated[
        int, typer.Option(min=1, help="Rows of the planned table; sets the number of anchors.")
    ] = 1_000_000_000,
    sample: Annotated[int, typer.Option(min=100, help="Rows that the field is fitted on.")] = 1
    << 17,
    mapped: Annotated[int, typer.Option(min=1, help="Rows that are mapped.")] = 1 << 16,
    workers: Annotated[int, typer.Option(min=1, help="Ray workers on this machine.")] = 1,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions of the vectors.")] = 384,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random vectors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time the Ray build of a table of LanceDB, with the anchors of one of `--planned` rows."""
    from energy_lancedb.map_costs import measure_map

    with tempfile.TemporaryDirectory() as folder:
        costs = measure_map(
            Path(folder),
            planned=planned,
            sample=sample,
            mapped=mapped,
            workers=workers,
            dim=dim,
            seed=seed,
        )
    if as_json:
        print_json(asdict(costs))
        return
    made = table(f"{costs.planned:,} rows of {dim} dimensions", "")
    for name, value in (
        ("anchors", f"{costs.anchors:,}"),
        (f"fit of {costs.sample:,} rows", f"{costs.fit_seconds:.0f} s"),
        (f"{costs.mapped:,} rows mapped by {workers} workers", f"{costs.map_seconds:.1f} s"),
        ("rows a second and worker", f"{costs.rows_per_second:,.0f}"),
        ("rows a CPU second, computing alone", f"{costs.rows_per_cpu_second:,.0f}"),
    ):
        made.add_row(name, value)
    console().print(made)
