"""``energy-plugin lab train-print``: train the recogniser of printed pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, table


def command(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of *.txt or *.txt.gz, one passage per line.", exists=True, file_okay=False
        ),
    ],
    fonts: Annotated[
        list[Path], typer.Option(help="Folder of .ttf and .otf files; several may be named.")
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for lines, state and weights; resumes what is there.")
    ] = Path(".training-print"),
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file with fields of PrintConfig; default: the bundled one."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that set lines ahead; a GPU needs some.")
    ] = 1,
    trainers: Annotated[
        int, typer.Option(min=1, help="Processes that share each step, one thread each.")
    ] = 1,
    device: Annotated[
        str | None, typer.Option(help="cuda, mps or cpu (default: the best available).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON at the end.")] = False,
) -> None:
    """Train the recogniser of print; run it again after an interrupt to resume."""
    from dataclasses import replace

    from energy_plugin.optical.training.curve import PRINT, draw_curve, read_log
    from energy_plugin.optical.training.printed.schedule import PrintConfig
    from energy_plugin.optical.training.printed.trainers import train

    schedule = PrintConfig.from_file(config) if config else PrintConfig.bundled()
    if minutes is not None:
        schedule = replace(schedule, minutes=minutes)
    model = train(
        data, fonts, work, schedule, processes=processes, trainers=trainers, device=device
    )
    curve = read_log(work / "log.jsonl")
    if as_json:
        print_json({"model": str(model), "curve": curve})
        return
    made = table("shard", "step", "minutes", "loss", "characters", "words")
    for record in curve[:: max(1, len(curve) // 20)]:
        made.add_row(
            *(f"{record[name]:.0f}" for name in ("shard", "step", "minutes")),
            *(f"{record['loss']:.3f}", f"{record['characters']:.1%}", f"{record['words']:.1%}"),
        )
    console().print(made)
    console().print(f"weights: {model}")
    draw_curve(work / "log.jsonl", work / "curve.png", PRINT)
    console().print(f"learning curve: {work / 'curve.png'}")
