"""``energy-plugin lab sweep``: a grid of settings on judged collections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, heading, print_json, show_progress, table
from energy_plugin.cli.evaluate import Encoder, Folders, Vectors, judged
from energy_plugin.errors import InvalidInputError


def command(
    folders: Folders,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for cells.csv and the heatmaps; resumes.")
    ],
    vectors: Vectors = None,
    encoder: Encoder = "compact",
    grid: Annotated[
        str, typer.Option(help="diffusion, heat or weights; see --axis for others.")
    ] = "diffusion",
    axis: Annotated[
        list[str] | None,
        typer.Option(help="SETTING=VALUE,VALUE,… instead of a grid; one to three times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every cell of a grid of settings; heatmaps show the change against cosine."""
    from tqdm.auto import tqdm

    from energy_plugin.energy import EnergyConfig
    from energy_plugin.evaluation.sweep import SHOWN, Sweep

    sweep = Sweep(_axes(grid, axis), out)
    base = EnergyConfig()
    cells = len(list(sweep.configs(base)))
    for collection, found in judged(folders, vectors, encoder):
        with tqdm(total=cells, desc=collection.name, disable=not show_progress()) as bar:
            sweep.run(collection, found, base, progress=bar.update)
    pictures = sweep.draw()
    cosine, means = sweep.means()
    if as_json:
        listed = [
            {**dict(zip(sweep.axes, key, strict=True)), **value} for key, value in means.items()
        ]
        files = [str(path) for path in pictures]
        print_json({"cosine": cosine, "cells": listed, "pictures": files})
        return
    screen = console()
    screen.print(heading(f"best cells of {len(means)}, mean of {len(folders)} sets"))
    made = table(*sweep.axes, *SHOWN, numbers_from=0)
    made.add_row(*("cosine", *[""] * (len(sweep.axes) - 1)), *(f"{cosine[n]:.3f}" for n in SHOWN))
    for key, value in sorted(means.items(), key=lambda item: -item[1]["ndcg@10"])[:10]:
        made.add_row(*(f"{number:g}" for number in key), *(f"{value[n]:.3f}" for n in SHOWN))
    screen.print(made)
    for path in (out / "cells.csv", *pictures):
        screen.print(str(path))


def _axes(grid: str, axis: list[str] | None) -> Mapping[str, tuple[float, ...]]:
    from energy_plugin.evaluation.sweep import GRIDS

    if not axis:
        if grid not in GRIDS:
            raise InvalidInputError(f"There is no grid {grid!r}; expected one of {list(GRIDS)}.")
        return GRIDS[grid]
    found = {}
    for one in axis:
        name, _, values = one.partition("=")
        try:
            found[name] = tuple(_number(value) for value in values.split(","))
        except ValueError as error:
            raise InvalidInputError(
                f"--axis got {one!r}, expected SETTING=VALUE,VALUE,… with numbers."
            ) from error
    return found


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
