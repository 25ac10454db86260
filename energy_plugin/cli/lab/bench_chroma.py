"""``energy-plugin lab bench-chroma``: what energy ranking costs in Chroma."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energy_plugin.cli.console import console, heading, print_json, table


def command(
    folder: Annotated[
        Path, typer.Argument(help="Chroma database; its collection is made once and used again.")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Rows of the collection.")] = 100_000,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions of a vector.")] = 384,
    queries: Annotated[int, typer.Option(min=1, max=256, help="Questions of each way.")] = 100,
    candidates: Annotated[int, typer.Option(min=10, help="Rows of Chroma's own search.")] = 100,
    row_columns: Annotated[
        bool, typer.Option("--row-columns", help="Also write the columns into each row.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the field even if there is one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time building, opening and asking in a collection of clustered random vectors."""
    from energy_chroma import EnergyCollection, costs
    from energy_chroma.stored import is_built

    made, asked = costs.collection(folder, rows, dim)
    result: dict[str, Any] = {"rows": rows, "dim": dim}
    if rebuild or not is_built(EnergyCollection(made)):
        result["build"] = costs.build(made, row_columns=row_columns)
    result["first_query"] = costs.first_query(folder, asked)
    result["query"] = costs.latencies(costs.ways(made, candidates), asked[:queries])
    if as_json:
        print_json(result)
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    out = console()
    out.print(heading(f"{result['rows']:,} rows of {result['dim']} dimensions"))
    parts = table("part", "seconds", "CPU seconds")
    if "build" in result:
        build = result["build"]
        parts.add_row("build, all of it", f"{build['seconds']:.1f}", "")
        parts.add_row(
            "build, writing of the chunks",
            f"{build['write_seconds']:.2f}",
            f"{build['write_cpu_seconds']:.2f}",
        )
    first = result["first_query"]
    parts.add_row("open and first query", f"{first['energy']:.2f}", f"{first['cpu']:.2f}")
    parts.add_row("first collection.query", f"{first['plain']:.2f}", "")
    out.print(parts)
    if "build" in result:
        out.print(
            f"field {result['build']['field_bytes'] / 1e6:.1f} MB, "
            f"columns {result['build']['row_bytes']:.0f} bytes a row"
        )
    lines = table("way to ask", "p50 ms", "p90 ms", "CPU p50 ms", "times plain", "of CPU")
    for name, one in result["query"].items():
        lines.add_row(
            name,
            f"{one['p50_ms']:.2f}",
            f"{one['p90_ms']:.2f}",
            f"{one['cpu_p50_ms']:.2f}",
            f"{one['ratio']:.2f}",
            f"{one['cpu_ratio']:.2f}",
        )
    out.print(lines)
