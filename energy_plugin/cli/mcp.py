"""``energy-plugin mcp``: an index as tools for agents."""

from __future__ import annotations

import os
import secrets
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from energy_plugin.cli.console import warn
from energy_plugin.cli.options import Database, Name
from energy_plugin.errors import InvalidInputError

TOKEN = "ENERGY_PLUGIN_TOKEN"  # variable of the environment


class NewHost(str, Enum):
    """Hosts of a new index."""

    lancedb = "lancedb"
    chroma = "chroma"


def command(
    path: Database,
    name: Name = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve HTTP instead of standard input and output.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for a free one.")] = 8765,
    public: Annotated[
        bool, typer.Option("--public", help="Allow a --host that other machines can reach.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the HTTP token. Default: ${TOKEN}, or a new token is shown."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Leave out the tools that write.")
    ] = False,
    half_life: Annotated[
        float | None,
        typer.Option(help="Days after which a memory counts half. Default: memories do not fade."),
    ] = None,
    floor: Annotated[float, typer.Option(min=0, max=1, help="Lowest strength of a memory.")] = 0.05,
    column: Annotated[
        str, typer.Option(help="Column or metadata key with each row's time, for forget.")
    ] = "modified",
    new: Annotated[
        NewHost | None, typer.Option(help="Create an empty index in that host if none exists.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="module:Class, if the index was made with one.")
    ] = None,
) -> None:
    """Serve an index to agents (Model Context Protocol).

    Over standard input and output, for an agent that starts this command, or over HTTP with a
    token.
    """
    from energy_plugin._lazy import optional

    optional("mcp", "mcp")
    from energy_plugin.forgetting import Strength
    from energy_plugin.mcp import serving
    from energy_plugin.mcp.shelf import Shelf

    if http and not public and not serving.is_loopback(host):
        raise InvalidInputError(
            f"--host {host} can be reached by other machines. Add --public if that is meant, and "
            "put TLS in front of it."
        )
    fading = None if half_life is None else Strength(half_life, floor)
    given = _token(token_file) if http else None
    shelf = Shelf(path, name, embedder=embedder, new=None if new is None else new.value)
    if not http:
        serving.over_stdio(shelf, fading=fading, read_only=read_only, column=column)
        return
    token = given or secrets.token_urlsafe(32)
    if given is None:
        warn(f"token, for Authorization: Bearer … : {token}")
    ready = lambda url: print(f"serving {url}", file=sys.stderr, flush=True)  # noqa: E731
    options = {"fading": fading, "read_only": read_only, "column": column}
    serving.over_http(shelf, host, port, token, ready, **options)


def _token(file: Path | None) -> str | None:
    from energy_plugin.mcp.serving import as_token

    if file is not None:
        return as_token(file.read_text(encoding="utf-8").strip())
    found = os.environ.get(TOKEN)
    return None if found is None else as_token(found)
