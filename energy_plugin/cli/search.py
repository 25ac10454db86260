"""``energy-plugin search``: ask a table or collection."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import console, print_json, table
from energy_plugin.errors import EnergyPluginError, InvalidInputError


class Ranking(str, Enum):
    """Orders of a result."""

    energy = "energy"
    cosine = "cosine"


def command(
    path: Annotated[Path, typer.Argument(help="Folder of a LanceDB or Chroma database.")],
    text: Annotated[str, typer.Argument(help="The question.")],
    where: Annotated[
        str | None, typer.Option(help="Filter: SQL for LanceDB, JSON for Chroma.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 5,
    ranking: Annotated[Ranking, typer.Option(help="energy or cosine.")] = Ranking.energy,
    name: Annotated[str | None, typer.Option(help="Table or collection, if several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the rows nearest to a text."""
    from rich.text import Text

    from energy_plugin.library.stores.opening import open_store

    if not text.strip():
        raise InvalidInputError("The question is empty. Give some words.")
    store = open_store(path, name)
    try:
        hits = store.search(text, limit, where=where, ranking=ranking.value)
    except (EnergyPluginError, OSError):
        raise
    except Exception as error:  # each host refuses filters in its own way
        if where is None:
            raise
        raise InvalidInputError(
            f"{store.host} does not understand --where {where!r}: {error}"
        ) from error
    if as_json:
        print_json([asdict(hit) for hit in hits])
        return
    made = table("", ranking.value, "source", "text", numbers_from=4)
    for place, hit in enumerate(hits, 1):
        shown = Text(" ".join(hit.text.split()), no_wrap=True, overflow="ellipsis")
        made.add_row(str(place), f"{hit.distance:.3f}", Text(hit.source or hit.id), shown)
    console().print(made)
