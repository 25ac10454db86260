"""``energy-plugin lab bench-chroma``: what energy ranking costs in Chroma."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energy_plugin.cli.console import console, heading, print_json, table
from energy_plugin.cli.lab.busy_hosts import show_busy


def command(
    folder: Annotated[
        Path, typer.Argument(help="Chroma database; its collection is made once and used again.")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Rows of the collection.")] = 100_000,
    dim: Annotated[int, typer.Option(min=2, help="Dimensions of a vector.")] = 384,
    queries: Annotated[int, typer.Option(min=1, max=256, help="Questions per method.")] = 100,
    candidates: Annotated[int, typer.Option(min=10, help="Rows of Chroma's own search.")] = 100,
    row_columns: Annotated[
        bool, typer.Option("--row-columns", help="Also write the columns into each row.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the field even if there is one.")
    ] = False,
    texts: Annotated[
        Path | None,
        typer.Option(help="Text file, one document per line; also times hybrid queries."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Judged collection to rank in Chroma, instead of timing."),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Vectors of the judged collection, as of eval.")
    ] = None,
    busy: Annotated[
        bool, typer.Option("--busy", help="Also time queries while every core is busy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time building, opening and asking in a collection of clustered random vectors."""
    from energy_chroma import EnergyCollection, costs
    from energy_chroma.stored import is_built

    if data is not None:
        _judge(data, vectors, as_json=as_json)
        return
    documents = None if texts is None else costs.lines(texts, rows)
    made, asked = costs.collection(folder, rows, dim, documents)
    result: dict[str, Any] = {"rows": rows, "dim": dim}
    if rebuild or not is_built(EnergyCollection(made)):
        lexical = documents is not None
        result["build"] = costs.build(made, row_columns=row_columns, lexical=lexical)
    result["first_query"] = costs.first_query(folder, asked)
    words = None if documents is None else costs.questions(documents, queries)
    result["query"] = costs.latencies(costs.ways(made, candidates, words), asked[:queries])
    if busy:
        from energy_plugin.evaluation.busy import idle_and_busy

        result["busy"] = idle_and_busy(costs.guarantees(made), list(asked[:queries]))
    if as_json:
        print_json(result)
    else:
        _show(result)
        if busy:
            show_busy(result["busy"])


def _judge(data: Path, vectors: Path | None, *, as_json: bool) -> None:
    from energy_plugin.cli.lab import judged_chroma
    from energy_plugin.cli.lab.judged import judged

    result = judged_chroma.quality(*judged(data, vectors))
    if as_json:
        print_json(result)
        return
    lines = table("query", *result["plain"], "nDCG@10 over plain")
    for kind in ("plain", "energy", "hybrid"):
        gain = result[kind]["ndcg@10"] / max(result["plain"]["ndcg@10"], 1e-9) - 1
        values = [f"{value:.3f}" for value in result[kind].values()]
        lines.add_row(kind, *values, f"{100 * gain:+.1f} %")
    console().print(lines)
    console().print(
        f"words {result['word_bytes_a_row']:.0f} bytes a row, columns "
        f"{result['column_bytes_a_row']:.0f}, share of the words {result['share'] or 0:.2f}"
    )


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
            f"columns {result['build']['row_bytes']:.0f} bytes a row, "
            f"words {result['build']['word_bytes']:.0f} bytes a row"
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
