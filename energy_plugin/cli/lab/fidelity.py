"""``energy-plugin lab fidelity``: what forgetting costs on judged collections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, heading, load_encoder, print_json, show_progress
from energy_plugin.cli.console import table as new_table


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Judged collections in the BEIR layout."),
    ],
    vectors: Annotated[
        Path | None, typer.Option(help="Precomputed vectors (.npz), or a folder of DATA.npz.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="Encoder name or folder.")] = "compact",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure recall and nDCG@10 at 8, 4, 2 and 1 bits per dimension, and under the schedule."""
    from energy_plugin.evaluation import embed_collection, load_collection, load_vectors
    from energy_plugin.evaluation.fidelity import fidelity

    results = {}
    for folder in folders:
        collection = load_collection(folder)
        if vectors is None:
            bar = show_progress()
            found = embed_collection(collection, load_encoder(encoder), show_progress_bar=bar)
        else:
            file = vectors / f"{folder.name}.npz" if vectors.is_dir() else vectors
            found = load_vectors(file, collection)
        results[folder.name] = fidelity(collection, found)
    if as_json:
        print_json({name: [each.to_dict() for each in found] for name, found in results.items()})
        return
    for name, rows in results.items():
        console().print(heading(name))
        made = new_table("stored", "bytes a row", "of the nearest 10", "nDCG@10", "recall@100")
        for each in rows:
            made.add_row(
                each.name,
                f"{each.bytes_per_row:,.0f}",
                f"{each.kept:.3f}",
                f"{each.ndcg:.3f}",
                f"{each.recall:.3f}",
            )
        console().print(made)
