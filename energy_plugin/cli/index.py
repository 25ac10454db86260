"""``energy-plugin index``: a folder's files in LanceDB or Chroma, ranked by energy."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import load_encoder, print_json, show_progress

ENCODER = "compact"


def command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of txt, md, html, pdf, csv, jsonl and image files.")
    ],
    into: Annotated[Path, typer.Option("--into", help="Folder of the database.")],
    host: Annotated[
        str | None, typer.Option(help="lancedb or chroma; where --into is new, lancedb.")
    ] = None,
    name: Annotated[str, typer.Option(help="Table or collection.")] = "docs",
    passage: Annotated[int, typer.Option(min=50, help="Characters of a passage.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Embed a folder's files; run again, it takes up what changed or was left undone.

    The table mirrors the folder: rows of files that are gone are removed.
    """
    from energy_plugin.library.files.folder import files_below
    from energy_plugin.library.ingest import Ingest, Progress
    from energy_plugin.library.stores.opening import open_or_create

    progress = Progress()
    bars = show_progress() or not as_json
    try:
        files_below(folder)  # before anything is made
        encoder = load_encoder(ENCODER)
        store = open_or_create(into, name, host, ENCODER, encoder.dim)
        Ingest(folder, store, encoder, passage, progress).run(show_progress_bar=bars)
        rows = store.count()
        field = store.build_or_refresh(show_progress_bar=bars) if rows else "none"
    except KeyboardInterrupt:
        print(
            f"interrupted: {progress.done} of {progress.files} files done; the same command goes "
            "on from there",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    if as_json:
        print_json(
            {"host": store.host, "name": name, "rows": rows, "field": field, **asdict(progress)}
        )
    else:
        print(
            f"{progress.files} files: {progress.added} added, {progress.changed} changed, "
            f"{progress.unchanged} unchanged, {progress.removed} removed, {progress.empty} empty, "
            f"{len(progress.unreadable)} unreadable; {progress.passages} passages stored"
        )
        print(f"{store.host} {name!r} in {into}: {rows} rows, energy field: {field}")
    for each in progress.unreadable:
        print(f"unreadable: {each['reason']}", file=sys.stderr)
    if progress.unreadable:
        raise typer.Exit(2)
