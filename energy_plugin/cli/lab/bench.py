"""``energy-plugin lab bench``: recall per byte, search times and upkeep beside the rivals'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_plugin.cli.console import console, heading, print_json, show_progress, table
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.evaluation.bench.data import Vectors


def command(
    vectors: Annotated[
        list[Path],
        typer.Argument(
            metavar="VECTORS...",
            help="Files of vectors: .npz with corpus and queries, or .npy whose last rows are "
            "the queries.",
        ),
    ],
    parts: Annotated[
        str, typer.Option(help="Parts to run, separated by commas.")
    ] = "codes,judged,jacobians,speed,upkeep,build",
    queries: Annotated[int, typer.Option(min=1, help="Queries per file.")] = 500,
    rows: Annotated[
        str, typer.Option(help="Row counts to time searches at, separated by commas.")
    ] = "",
    judged: Annotated[
        Path | None,
        typer.Option(help="Folder of judged collections, named like the files of vectors."),
    ] = None,
    arrowspace: Annotated[
        Path | None,
        typer.Option(help="Python of an environment with arrowspace, to compare build times."),
    ] = None,
    peers: Annotated[
        bool, typer.Option(help="Measure Chroma and LanceDB as well, which takes longest.")
    ] = True,
    busy: Annotated[
        bool,
        typer.Option(
            "--busy",
            help="With the part speed: also time queries while every core is busy, in both hosts "
            "too.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json and the plots; made if missing.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="A Markdown page whose marked tables are rewritten."),
    ] = None,
    merge: Annotated[
        bool, typer.Option(help="Keep the parts of an earlier bench.json that are not run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure codes, search, upkeep and build, side by side with the rivals."""
    from energy_plugin.evaluation.bench.run import Plan, run

    plan = Plan(
        vectors=vectors,
        parts=[part.strip() for part in parts.split(",") if part.strip()],
        queries=queries,
        rows=_numbers(rows),
        judged=judged,
        arrowspace=arrowspace,
        peers=peers,
        busy=busy,
        hosts=_hosts if busy and peers else None,
    )
    text = None if page is None else _read(page)
    result = run(plan, _note)
    if out is not None:
        result = _write(result, out, merge=merge)
    if page is not None and text is not None:
        from energy_plugin.evaluation.bench.tables import fill

        page.write_text(fill(text, result), encoding="utf-8")
    if as_json:
        print_json(result)
    else:
        _print(result)


def _hosts(vectors: Vectors) -> dict[str, Any]:
    from energy_plugin.cli.lab.busy_hosts import measure

    return measure(vectors)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InvalidInputError(
            f"--rows must be numbers separated by commas, got {text!r}."
        ) from error


def _read(page: Path) -> str:
    if not page.is_file():
        raise InvalidInputError(f"{page} is not a file. --page names a page with marked tables.")
    return page.read_text(encoding="utf-8")


def _note(step: str) -> None:
    if show_progress():
        typer.echo(step, err=True)


def _write(result: dict[str, Any], folder: Path, *, merge: bool) -> dict[str, Any]:
    from energy_plugin.evaluation.bench import plots

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    if merge and path.is_file():
        result = {**json.loads(path.read_text(encoding="utf-8")), **result}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if "codes" in result:
        plots.recall_by_bytes(result, folder / "recall_by_bytes.png")
    if "speed" in result:
        plots.time_by_rows(result, folder / "time_by_rows.png")
    return result


def _print(result: dict[str, Any]) -> None:
    from energy_plugin.evaluation.bench.tables import TABLES

    screen = console()
    for name, (part, make) in TABLES.items():
        if part not in result:
            continue
        screen.print(heading(name))
        lines = make(result).splitlines()
        if not lines[0].startswith("|"):
            screen.print(lines[0])
            continue
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        made = table(*cells[0])
        for row in cells[2:]:
            made.add_row(*row)
        screen.print(made)
