"""``energy-plugin info``: what a table or collection stores."""

from __future__ import annotations

from typing import Any

from energy_plugin.cli.console import console, print_json, table
from energy_plugin.cli.options import Database, Json, Name


def command(path: Database, name: Name = None, as_json: Json = False) -> None:
    """Show what an index holds.

    Rows, bytes, generation, and how far the rows have drifted from the field.
    """
    from energy_plugin.library.describing import described
    from energy_plugin.library.remedies import commands_as_remedies

    with commands_as_remedies(path, name):
        found = described(path, name)
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
