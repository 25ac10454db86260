"""What a table or collection holds, read once and noted until the database changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from energy_plugin.library.memory import FOLDER, keep, recall
from energy_plugin.library.stores.address import server_of

if TYPE_CHECKING:
    from energy_plugin.library.stores.store import Store

_NOTE = "info"


def described(path: Path, name: str | None) -> dict[str, Any]:
    """Rows, bytes, generation and drift of a field, with host and name.

    The bytes of a folder on disk too, which are not known of a server.

    Raises
    ------
    InvalidInputError
        As `energy_plugin.library.stores.opening.open_store`.
    """
    found = _noted(path, name)
    if found is None:
        from energy_plugin.library.stores.opening import open_store

        found = note(open_store(path, name))
    return found if server_of(path) is not None else {**found, "disk_bytes": _disk_bytes(path)}


def note(store: Store) -> dict[str, Any]:
    """Describe a store, and keep the description with its database."""
    from energy_plugin.library.stores.opening import names_in

    found = {"host": store.host, "name": store.name, **store.describe()}
    names = names_in(store.path)
    keep(store.path, store.name, _NOTE, {"names": names, "info": found})
    return found


def _noted(path: Path, name: str | None) -> dict[str, Any] | None:
    names = [name] if name is not None else _names(path)
    if len(names) != 1:
        return None
    noted = recall(path, names[0], _NOTE)
    if not isinstance(noted, dict) or (name is None and noted.get("names") != names):
        return None
    found = noted.get("info")
    return found if isinstance(found, dict) else None


def _names(path: Path) -> list[str]:
    suffix = f".{_NOTE}.json"
    found = sorted((path / FOLDER).glob(f"*{suffix}"))
    return [unquote(each.name.removesuffix(suffix)) for each in found]


def _disk_bytes(path: Path) -> int:
    return sum(
        each.stat().st_size
        for each in path.rglob("*")
        if each.is_file() and FOLDER not in each.relative_to(path).parts
    )
