"""``energy-plugin info``: what a table or collection stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from energy_plugin.cli.console import console, print_json, table


def command(
    path: Annotated[Path, typer.Argument(help="Folder of a LanceDB or Chroma database.")],
    name: Annotated[str | None, typer.Option(help="Table or collection, if several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print rows, bytes, generation and drift of an energy field."""
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    found = {
        "host": store.host,
        "name": store.name,
        **store.describe(),
        "disk_bytes": sum(each.stat().st_size for each in path.rglob("*") if each.is_file()),
    }
    if as_json:
        print_json(found)
        return
    made = table("", "", numbers_from=2)
    for key, value in found.items():
        made.add_row(key.replace("_", " "), _shown(value))
    console().print(made)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items()) or "none"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
