"""What a comparison of rankings prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_plugin.cli.console import console, heading, table

if TYPE_CHECKING:
    from energy_plugin.library.comparison import Comparison

SHOWN = 12  # questions of the table


def print_comparison(result: Comparison, *, made: bool, shown: int = SHOWN) -> None:
    """Print scores, the places of the right answers, duels and the verdict.

    Parameters
    ----------
    result : Comparison
    made : bool
        The questions were made from the documents.
    shown : int
        Questions to list, those where the rankings differ most.
    """
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
    listed = sorted(spread, key=lambda i: (-spread[i], i))[:shown]
    out.print(heading("Place of the right passage, where the rankings differ most"))
    places = table(*names, "question", numbers_from=0)
    places.columns[-1].justify = "left"
    for i in listed:
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
