"""``energy-plugin compare``: whether energy helps on these documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.compare_tables import print_comparison
from energy_plugin.cli.console import print_json, show_progress, warn
from energy_plugin.cli.options import Json, Name


def command(
    path: Annotated[Path, typer.Argument(help="Folder of documents, or of a database.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Questions and answers: question<TAB>file or id, or JSON lines. "
            "Made from the documents if not given."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of questions to make.")] = 60,
    embedder: Annotated[
        str | None, typer.Option(help="compact, a sentence-transformers model, or module:Class.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the questions.")] = 0,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Compare cosine, words, fusion, energy and hybrid ranking on your own documents.

    Prints where each ranking puts the right passage, and a verdict in one sentence.
    """
    from energy_plugin.library import corpus
    from energy_plugin.library.stores.opening import host_of

    if host_of(path) is None:
        found = corpus.of_folder(
            path, embedder, seed=seed, show_progress_bar=show_progress() and not as_json
        )
    else:
        found = corpus.of_store(path, name, embedder)
    if found.left_out:
        warn(f"{len(found.texts)} passages chosen at random; {found.left_out} left out")
    result = corpus.run(found, questions, count=count, seed=seed)
    if as_json:
        print_json(result.to_dict())
    else:
        print_comparison(result, made=questions is None)
