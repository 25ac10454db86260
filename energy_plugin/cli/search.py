"""``energy-plugin search``: ask a table or collection."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from energy_plugin.cli.console import console, print_json, table
from energy_plugin.cli.options import Database, Json, Name

if TYPE_CHECKING:
    from energy_plugin.library.stores.store import Hit


class Ranking(str, Enum):
    """Orders of a result."""

    hybrid = "hybrid"
    energy = "energy"
    cosine = "cosine"
    words = "words"
    fusion = "fusion"


def command(
    path: Database,
    text: Annotated[str, typer.Argument(help="The question.")],
    where: Annotated[
        str | None,
        typer.Option(
            help='Filter. LanceDB: SQL, such as "year > 1990". Chroma: JSON, such as '
            """'{"year": 1990}'."""
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of results.")] = 5,
    ranking: Annotated[
        Ranking | None,
        typer.Option(help="Order of the results. Default: hybrid, or energy without words."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print the whole passages.")] = False,
    embedder: Annotated[
        str | None, typer.Option(help="module:Class, if the index was made with one.")
    ] = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Search an index.

    Distances of different rankings cannot be compared.
    """
    from energy_plugin.library.searching import ask

    order = None if ranking is None else ranking.value
    hits = ask(path, name, text, limit, where=where, ranking=order, embedder=embedder)
    if as_json:
        print_json([asdict(hit) for hit in hits])
    elif full:
        _print_whole(hits)
    else:
        _print_table(hits, order or "distance")


def _print_table(hits: list[Hit], ranking: str) -> None:
    from rich.text import Text

    known = any(hit.relevance is not None for hit in hits)
    made = table("", ranking, *(["relevance"] if known else []), "source", "text", numbers_from=5)
    for place, hit in enumerate(hits, 1):
        shown = Text(" ".join(hit.text.split()), no_wrap=True, overflow="ellipsis")
        relevance = [f"{hit.relevance or 0:.2f}"] if known else []
        made.add_row(str(place), f"{hit.distance:.3f}", *relevance, Text(_source(hit)), shown)
    console().print(made)


def _print_whole(hits: list[Hit]) -> None:
    from rich.text import Text

    out = console()
    for place, hit in enumerate(hits, 1):
        out.print(Text(f"{place}  {hit.distance:.3f}  {_source(hit)}", style="bold"))
        out.print(Text(f"{hit.text}\n"))


def _source(hit: Hit) -> str:
    page = "" if hit.page is None else f", page {hit.page}"
    return f"{hit.source or hit.id}{page}"
