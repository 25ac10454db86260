"""``energy-plugin compare``: whether energy helps on these documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_plugin.cli.console import console, heading, print_json, show_progress, table, warn
from energy_plugin.cli.options import Json, Name

if TYPE_CHECKING:
    from energy_plugin.library.comparison import Comparison

SHOWN = 12  # questions of the table


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
        _show(result, made=questions is None)


def _show(result: Comparison, *, made: bool) -> None:
    from rich.text import Text

    out = console()
    kind = "made from the documents" if made else "with known answers"
    out.print(heading(f"{len(result.questions)} questions {kind}, {result.rows} passages"))
    scores = table("ranking", "MRR", "first", "first ten", "median place", numbers_from=1)
    for name, score in result.scores.items():
        scores.add_row(
            name,
            f"{score.mrr:.3f}",
            f"{100 * score.first:.0f} %",
            f"{100 * score.first_ten:.0f} %",
            _place(score.median_place),
        )
    out.print(scores)
    names = list(result.places)
    spread = {
        i: _spread([result.places[n][i] for n in names]) for i in range(len(result.questions))
    }
    shown = sorted(spread, key=lambda i: (-spread[i], i))[:SHOWN]
    out.print(heading("Place of the right passage, where the rankings differ most"))
    places = table(*names, "question", numbers_from=0)
    places.columns[-1].justify = "left"
    for i in shown:
        text = Text(" ".join(result.questions[i].split()), no_wrap=True, overflow="ellipsis")
        places.add_row(*(_place(result.places[n][i]) for n in names), text)
    out.print(places)
    for name, duel in result.duels.items():
        out.print(
            f"{name} against {result.rival}: {duel.wins} wins, {duel.ties} ties, {duel.losses} "
            f"losses, p = {duel.p_value:.3f}"
        )
    out.print(heading(result.verdict))


def _place(place: float) -> str:
    return f"{place:.0f}" if place < float("inf") else "> 100"


def _spread(places: list[float]) -> float:
    gains = [1 / place for place in places]
    return max(gains) - min(gains)
