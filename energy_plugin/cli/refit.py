"""``energy-plugin refit``: a new field from the present vectors."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_plugin.cli.console import print_json, show_progress
from energy_plugin.cli.options import Database, Json, Name


def command(
    path: Database,
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory limit of the fit, such as '2 GB'.")
    ] = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Fit a new energy field to the rows, or a first one.

    Use it when `info` shows drift: a distortion above 1.3 or a λ shift above 1. The old field
    answers until the new one is complete.
    """
    from energy_plugin.library.remedies import commands_as_remedies
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    with commands_as_remedies(path, name):
        did = store.refit(memory_limit=memory_limit, show_progress_bar=show_progress())
    rows = store.count()
    if as_json:
        print_json({"host": store.host, "name": store.name, "field": did, "rows": rows})
    else:
        print(f"{store.host} {store.name!r}: field {did}, {rows:,} rows")
