"""``energy-plugin verify``: checksums and invariants of a stored field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import print_json


def command(
    path: Annotated[Path, typer.Argument(help="Folder of a LanceDB or Chroma database.")],
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found.")] = False,
    name: Annotated[str | None, typer.Option(help="Table or collection, if several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check all that is stored against the rows' vectors; exit 1 where something is wrong.

    With --repair, exit 1 only where something is left.
    """
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    found = store.findings()
    left = found
    if found and repair:
        store.repair()
        left = store.findings()
    if as_json:
        print_json({"found": found, "left": left})
    else:
        for each in found:
            mended = "mended" if repair and each not in left else "found"
            print(f"{mended}: {each['kind']}: {each['message']}")
        for each in left:
            if each not in found:
                print(f"left: {each['kind']}: {each['message']}")
        if not found:
            print(f"{store.host} {store.name!r}: all is well")
        elif not repair:
            print("mend it with: --repair")
    if left:
        raise typer.Exit(1)
