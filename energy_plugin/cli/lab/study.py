"""``energy-plugin lab study``: drift, tail, duplicates and hubs, outliers on judged collections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, heading, print_json, table
from energy_plugin.errors import InvalidInputError


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Judged collections in BEIR layout."),
    ],
    vectors: Annotated[Path, typer.Option(help="Folder of NAME.npz, as from eval --save-vectors.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of copies and outliers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure energy where cosine has no answer: drift, tail, duplicates, outliers."""
    from energy_plugin.evaluation import load_collection, load_vectors, study

    if not vectors.is_dir():
        raise InvalidInputError(f"{vectors} is not a folder of NAME.npz.")
    collections = [load_collection(folder) for folder in folders]
    ready = [load_vectors(vectors / f"{each.name}.npz", each) for each in collections]
    found: dict[str, dict[str, dict[str, float]]] = {
        "tail": {}, "hubs": {}, "outliers": {},
    }  # fmt: skip
    for collection, each in zip(collections, ready, strict=True):
        found["tail"][collection.name] = study.tail(collection, each)
        found["hubs"][collection.name] = study.hubs(collection, each, seed=seed)
        found["outliers"][collection.name] = study.outliers(each, seed=seed)
    if len(collections) > 1:
        found["drift"] = study.drift(collections, ready)
    if as_json:
        print_json(found)
        return
    out = console()
    for name, rows in found.items():
        out.print(heading(name))
        for collection_name, values in rows.items():
            made = table(collection_name, *values)
            made.add_row("", *(f"{value:.3f}" for value in values.values()))
            out.print(made)
