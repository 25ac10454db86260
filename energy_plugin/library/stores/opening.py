"""Which host a folder belongs to, and opening what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from energy_plugin.errors import EnergyPluginError, InvalidInputError
from energy_plugin.library.memory import FOLDER as NOTES
from energy_plugin.library.stores.address import server_of, shown
from energy_plugin.library.stores.store import Store

if TYPE_CHECKING:
    from energy_plugin.library.embedders import Embedder

HOSTS = ("lancedb", "chroma")


def host_of(path: Path) -> str | None:
    """The host whose data a folder holds; None where there is none yet. A server is Chroma's."""
    if server_of(path) is not None or (path / "chroma.sqlite3").is_file():
        return "chroma"
    if path.is_dir() and any(path.glob("*.lance")):
        return "lancedb"
    return None


def open_store(path: Path, name: str | None = None) -> Store:
    """Open a table or collection.

    Parameters
    ----------
    path : Path
        A folder, or the address of a Chroma server: ``Path("http://HOST:PORT")``.
    name : str, optional
        Not needed where there is only one.

    Raises
    ------
    InvalidInputError
        The path is neither host's, or there is nothing of that name.
    """
    host = host_of(path)
    if host is None:
        raise InvalidInputError(
            f"{path} is neither a LanceDB nor a Chroma folder: no *.lance and no chroma.sqlite3 "
            "in it. Make one with: energy-plugin index FOLDER --into PATH"
        )
    found = _names(host, path)
    if name is None and len(found) == 1:
        name = found[0]
    if name is None or name not in found:
        raise InvalidInputError(
            f"{shown(path)} contains {', '.join(found) or 'nothing'}; "
            + ("say which one with --name." if name is None else f"there is no {name!r}.")
        )
    return _class(host)(path, name)


def open_or_create(
    path: Path, name: str, host: str | None, embedder: Callable[[], Embedder]
) -> Store:
    """Open a table or collection for `index`, or make it.

    Parameters
    ----------
    path : Path
    name : str
    host : {"lancedb", "chroma"}, optional
    embedder : callable
        Gives the embedder, where one has to be made.

    Raises
    ------
    InvalidInputError
        `path` is a file, belongs to the other host, or is a folder of something else.
    """
    if path.exists() and not path.is_dir():
        raise InvalidInputError(f"{path} is a file, expected a folder of a database.")
    present = host_of(path)
    others = {each.name for each in path.iterdir()} - {NOTES} if path.is_dir() else set()
    if present is None and others:
        raise InvalidInputError(
            f"{path} holds files and is neither a LanceDB nor a Chroma folder. Give an empty or "
            "new one."
        )
    if host is not None and host not in HOSTS:
        raise InvalidInputError(f"Unknown host {host!r}; expected one of {', '.join(HOSTS)}.")
    if present and host and present != host:
        what = "a folder of" if server_of(path) is None else "a server of"
        raise InvalidInputError(f"{shown(path)} is {what} {present}, --host says {host}.")
    wanted = present or host or "lancedb"
    if present and name in _names(present, path):
        return _class(present)(path, name)
    if server_of(path) is None:
        path.mkdir(parents=True, exist_ok=True)
    return _class(wanted).create(path, name, embedder())


def names_in(path: Path) -> list[str]:
    """Tables or collections of a database, those of the plugin left out."""
    host = host_of(path)
    return [] if host is None else _names(host, path)


def _class(host: str) -> type[Store]:
    if host == "chroma":
        from energy_plugin.library.stores.chroma import ChromaStore

        return ChromaStore
    from energy_plugin.library.stores.lance import LanceStore

    return LanceStore


def _names(host: str, path: Path) -> list[str]:
    try:
        if host == "chroma":
            from energy_plugin.library.stores import chroma

            return chroma.names(path)
        from energy_plugin.library.stores import lance

        return lance.names(path)
    except EnergyPluginError:
        raise
    except Exception as error:  # a damaged folder; each host has its own kinds
        raise InvalidInputError(f"{shown(path)} cannot be opened as {host}: {error}") from error
