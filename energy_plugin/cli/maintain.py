"""``energy-plugin maintain``: a field that follows its rows."""

from __future__ import annotations

from energy_plugin.cli.console import print_json
from energy_plugin.cli.options import Database, Json, Name


def command(path: Database, name: Name = None, as_json: Json = False) -> None:
    """Adapt the energy field to changed rows, without a full fit.

    Anchors move to the rows that are new in their cells. It costs much less than `refit`.
    """
    from dataclasses import asdict

    from energy_plugin.library.remedies import commands_as_remedies
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    with commands_as_remedies(path, name):
        found = asdict(store.maintain())
    if as_json:
        print_json({"host": store.host, "name": store.name, **found})
        return
    shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.items())
    print(f"{store.host} {store.name!r}: {shown}")
