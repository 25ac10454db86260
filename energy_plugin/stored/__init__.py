"""The life of a stored field, the same in every host: its verbs, what they return, what they need.

A host brings a `Keeper`: how the field and its columns stand in the database. `FieldVerbs` are
the methods that users call; they are written once, over that keeper.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.stored.by_lambda import LambdaHits as LambdaHits
    from energy_plugin.stored.changes import Changes as Changes
    from energy_plugin.stored.database import Database as Database
    from energy_plugin.stored.database import Generation as Generation
    from energy_plugin.stored.database import Hit as Hit
    from energy_plugin.stored.findings import KINDS as KINDS
    from energy_plugin.stored.findings import Finding as Finding
    from energy_plugin.stored.findings import RepairReport as RepairReport
    from energy_plugin.stored.hosted import HostedField as HostedField
    from energy_plugin.stored.info import FieldInfo as FieldInfo
    from energy_plugin.stored.keeper import Keeper as Keeper
    from energy_plugin.stored.keeper import Taken as Taken
    from energy_plugin.stored.verbs import FieldVerbs as FieldVerbs

_HOMES = {
    "KINDS": "findings",
    "Changes": "changes",
    "Database": "database",
    "FieldInfo": "info",
    "FieldVerbs": "verbs",
    "Finding": "findings",
    "Generation": "database",
    "Hit": "database",
    "HostedField": "hosted",
    "Keeper": "keeper",
    "LambdaHits": "by_lambda",
    "RepairReport": "findings",
    "Taken": "keeper",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names are literal above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
