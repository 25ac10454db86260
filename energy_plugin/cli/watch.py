"""``energy-plugin watch``: an index that follows its folder."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from energy_plugin.cli import index
from energy_plugin.cli.index import (
    EmbedderName,
    Folder,
    Host,
    Into,
    OcrName,
    Overlap,
    Passage,
    TableName,
)


def command(
    folder: Folder,
    into: Into,
    host: Host = None,
    name: TableName = "docs",
    passage: Passage = 1000,
    overlap: Overlap = 0,
    embedder: EmbedderName = "compact",
    ocr: OcrName = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between checks.")] = 2.0,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many updates (default: run until Ctrl-C)."),
    ] = None,
) -> None:
    """Keep an index up to date while files change.

    Stop it with Ctrl-C: what was embedded is stored.
    """
    from energy_plugin.library.files.folder import state_of_files

    seen, left = None, runs
    while True:
        state = state_of_files(folder, into)
        if state != seen:
            outcome, progress = index.run(folder, into, host, name, passage, overlap, embedder, ocr)
            if seen is None or outcome.field != "unchanged":
                index.show(outcome, name, into)
                index.report_problems(progress)
            seen = state
            left = None if left is None else left - 1
            if left == 0:
                return
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
