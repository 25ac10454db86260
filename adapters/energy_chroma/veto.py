"""Refusing an embedding function in ``collection.modify`` before Chroma stores it.

Chroma asks ``validate_config_update`` only after it has stored the change. Before, it asks no more
than ``validate_config`` about the new configuration alone; the collection that is being modified
stands on the call stack then, and with it the configuration that is about to be lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.models.Collection import Collection

from energy_plugin.errors import ForeignFieldError

SEMANTIC = ("model", "fingerprint", "truncate_dim")  # what a vector means
_MODIFYING = (Collection.modify.__code__, AsyncCollection.modify.__code__)


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """What would change for the stored vectors, in words."""
    for key in SEMANTIC:
        if old.get(key) != new.get(key):
            return (
                f"{key} of an embedding function cannot change from {old.get(key)!r} to "
                f"{new.get(key)!r}: the stored vectors would lose their meaning."
            )
    return None


def refuse_in_modify(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that a running ``modify`` is about to store.

    Parameters
    ----------
    name : str
        Of the embedding function.
    config : mapping
        What it is to be.

    Raises
    ------
    ForeignFieldError
        The collection's vectors are of another function, or of this one with other settings.
    """
    collection = _modified()
    if collection is None:
        return
    stored = collection.configuration_json.get("embedding_function") or {}
    if stored.get("type") != "known":
        return
    reason = changed(stored.get("config") or {}, config)
    if stored["name"] != name:
        reason = f"{collection.name!r} was embedded by {stored['name']!r}, not by {name!r}."
    if reason is not None:
        raise ForeignFieldError(
            f"{reason} Nothing was changed. EnergyCollection(collection)"
            ".reembed(embedding_function) embeds all rows again."
        )


def _modified() -> Collection | AsyncCollection | None:
    """The collection whose ``modify`` is running, if there is one."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code in _MODIFYING:
            found = frame.f_locals.get("self")
            return found if isinstance(found, (Collection, AsyncCollection)) else None
        frame = frame.f_back
    return None
