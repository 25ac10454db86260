"""``energy-plugin index``: a folder's files in LanceDB or Chroma, ranked by energy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_plugin.cli.console import log_progress, print_json, show_progress
from energy_plugin.cli.options import Json

if TYPE_CHECKING:
    from energy_plugin.library.indexing import Outcome

Folder = Annotated[
    Path,
    typer.Argument(help="Folder of text, Markdown, HTML, Word, PDF, CSV, JSON and image files."),
]
Into = Annotated[
    Path,
    typer.Option("--into", help="Folder of the database, or http://HOST:PORT of a Chroma server."),
]
Host = Annotated[
    str | None, typer.Option(help="lancedb or chroma. Default for a new --into: lancedb.")
]
TableName = Annotated[str, typer.Option("--name", help="Table or collection.")]
Passage = Annotated[int, typer.Option(min=50, help="Characters per passage.")]
Overlap = Annotated[
    int, typer.Option(min=0, help="Characters of overlap between passages, in whole sentences.")
]
EmbedderName = Annotated[
    str,
    typer.Option(
        "--embedder",
        help="compact, a sentence-transformers model, or module:Class.",
    ),
]
OcrName = Annotated[
    str | None,
    typer.Option("--ocr", help="Also read scanned pages as text: rapidocr or tesseract."),
]
Engine = Annotated[
    str,
    typer.Option(help="Where files are read and embedded: local, or ray for a Ray cluster."),
]


def command(
    folder: Folder,
    into: Into,
    host: Host = None,
    name: TableName = "docs",
    passage: Passage = 1000,
    overlap: Overlap = 0,
    embedder: EmbedderName = "compact",
    ocr: OcrName = None,
    engine: Engine = "local",
    as_json: Json = False,
) -> None:
    """Index a folder of files, or bring its index up to date.

    Only new and changed files are embedded. Rows of deleted files are removed. Columns of CSV
    files, JSON fields and front matter become columns that search --where filters.
    """
    outcome, progress = run(folder, into, host, name, passage, overlap, embedder, ocr, engine)
    if as_json:
        print_json(
            {
                "host": outcome.host,
                "name": name,
                "rows": outcome.rows,
                "field": outcome.field,
                **progress,
            }
        )
    else:
        show(outcome, name, into)
    if report_problems(progress):
        raise typer.Exit(2)


def run(
    folder: Path,
    into: Path,
    host: str | None,
    name: str,
    passage: int,
    overlap: int,
    embedder: str,
    ocr: str | None = None,
    engine: str = "local",
) -> tuple[Outcome, dict[str, Any]]:
    """Index once; exit with 130 where the user interrupts."""
    from energy_plugin.errors import InvalidInputError
    from energy_plugin.library.files.folder import Cutting
    from energy_plugin.library.indexing import Request, index_folder
    from energy_plugin.library.remedies import commands_as_remedies

    if overlap >= passage:
        raise InvalidInputError(f"--overlap is {overlap}, expected less than --passage {passage}.")
    cutting = Cutting(passage, overlap)
    request = Request(folder, into, name, host, embedder, cutting, ocr, engine)
    progress: dict[str, Any] = {}
    log_progress()
    try:
        with commands_as_remedies(into, name):
            outcome = index_folder(request, progress, show_progress_bar=show_progress())
    except KeyboardInterrupt:
        stored, planned = progress.get("passages", 0), progress.get("planned", 0)
        of = "" if engine == "ray" else f" of {planned}"  # there, reading goes on meanwhile
        said = f"{stored}{of} passages are stored" if planned else "nothing was changed"
        print(f"interrupted: {said}; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(130) from None
    return outcome, progress


def show(outcome: Outcome, name: str, into: Path) -> None:
    """Print what a run did."""
    from energy_plugin.library.stores.address import shown

    did = outcome.progress
    print(
        f"{did['files']} files: {did['added']} added, {did['changed']} changed, "
        f"{did['unchanged']} unchanged, {did['removed']} removed, {did['empty']} empty, "
        f"{len(did['unreadable'])} unreadable; {did['passages']} passages stored"
    )
    print(
        f"{outcome.host} {name!r} in {shown(into)}: {outcome.rows} rows, "
        f"energy field: {outcome.field}",
        flush=True,  # a watch goes on, and somebody may wait for the line
    )


def report_problems(progress: dict[str, Any]) -> bool:
    """Name what was skipped and what could not be read; tell whether there is such."""
    from energy_plugin.library.files.folder import left_out

    said = left_out(progress["skipped"], progress["outside"])
    if said:
        print(f"note: {said}", file=sys.stderr)
    for each in progress["unreadable"]:
        page = f"page {each['page']}: " if "page" in each else ""
        print(f"unreadable: {page}{each['reason']}", file=sys.stderr)
    return bool(progress["unreadable"])
