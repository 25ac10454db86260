"""A Chroma server in place of a folder: ``http://HOST:PORT``.

To the commands an address is a path like any other, one that leads to no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from energy_plugin.errors import InvalidInputError

_PORTS = {"http": 8000, "https": 443}  # of addresses without one; 8000 is Chroma's


@dataclass(frozen=True)
class Server:
    """Where a Chroma server listens."""

    host: str
    port: int
    ssl: bool


def server_of(path: Path) -> Server | None:
    """The server that a path is the address of; None where it is a folder.

    Raises
    ------
    InvalidInputError
        The port is not a number, or something follows it.
    """
    address = shown(path)
    if "://" not in address:
        return None
    parsed = urlsplit(address)
    try:
        port = parsed.port
    except ValueError:
        port = -1
    if port == -1 or not parsed.hostname or parsed.path or parsed.query or parsed.username:
        raise InvalidInputError(
            f"{address} is not the address of a Chroma server. Expected http://HOST:PORT or "
            "https://HOST:PORT."
        )
    return Server(parsed.hostname, port or _PORTS[parsed.scheme], parsed.scheme == "https")


def shown(path: Path) -> str:
    """A folder or address as people write it; `pathlib` takes one of two slashes away."""
    scheme = path.parts[0].rstrip(":\\/") if path.parts else ""
    if scheme in _PORTS and path.parts[0].startswith(f"{scheme}:"):
        return f"{scheme}://{'/'.join(path.parts[1:])}"
    return str(path)
