"""``energy-plugin verify``: checksums and invariants of a stored field."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_plugin.cli.console import print_json
from energy_plugin.cli.options import Database, Json, Name


def command(
    path: Database,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is found.")] = False,
    reach: Annotated[
        bool,
        typer.Option(
            "--reach",
            help="Chroma: also ask its own search for rows by their own vectors, and report those "
            "that it does not find. With --repair, write them again.",
        ),
    ] = False,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Check an index for damage, and repair it.

    Exit code 1 if something is wrong; with --repair, only if something is left. A field that a
    newer version wrote is never overwritten.
    """
    from energy_plugin.library.checking import check
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    found, left = check(store, repair=repair, reach=reach)
    if as_json:
        print_json({"found": found, "left": left})
    else:
        for each in found:
            state = "repaired" if repair and each not in left else "found"
            print(f"{state}: {each['kind']}: {each['message']}")
        for each in left:
            if each not in found:
                print(f"left: {each['kind']}: {each['message']}")
        if not found:
            print(f"{store.host} {store.name!r}: no problems found")
        elif not repair:
            print(f"repair it with: --repair{' --reach' if reach else ''}")
    if left:
        raise typer.Exit(1)
