"""``energy-plugin lab tune``: settings for one collection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, show_progress, table
from energy_plugin.cli.evaluate import Encoder, Vectors, judged


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="DATA", help="Judged collection in BEIR layout.")
    ],
    vectors: Vectors = None,
    encoder: Encoder = "compact",
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Ignore the judgements; use the rows as queries.")
    ] = False,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try, the defaults first.")] = 24,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of trials, folds and noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="JSON file for the chosen configuration.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose settings; the defaults are kept unless others prove better."""
    from tqdm.auto import tqdm

    from energy_plugin.evaluation.tune import tune

    collection, found = next(judged([folder], vectors, encoder))
    row = {name: number for number, name in enumerate(collection.corpus)}
    grades = [
        {row[name]: float(grade) for name, grade in collection.qrels[query].items() if name in row}
        for query in collection.queries
    ]
    with tqdm(total=trials, desc="tune", disable=not show_progress()) as bar:
        result = tune(
            found.corpus,
            None if unlabelled else found.queries,
            None if unlabelled else grades,
            trials=trials,
            folds=folds,
            seed=seed,
            progress=bar.update,
        )
    if out is not None:
        out.write_text(json.dumps(result.config.to_dict(), indent=1), encoding="utf-8")
    if as_json:
        print_json(result.to_dict())
        return
    screen = console()
    made = table("settings", "nDCG@10", numbers_from=1)
    for trial in sorted(result.trials, key=lambda trial: -trial["ndcg@10"])[:8]:
        changes = ", ".join(f"{name} {value:g}" for name, value in trial["changes"].items())
        made.add_row(changes or "defaults", f"{trial['ndcg@10']:.4f}")
    screen.print(made)
    kept = result.config.to_dict() == type(result.config)().to_dict()
    screen.print(
        f"defaults {result.default:.4f}; chosen without the held-out questions "
        f"{result.held_out:.4f}; {'the defaults stay' if kept else f'chosen {result.best:.4f}'}"
    )
    if out is not None:
        screen.print(str(out))
