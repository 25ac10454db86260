"""How a server is reached: standard input and output, or HTTP with a token."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from energy_plugin.errors import InvalidInputError
from energy_plugin.mcp.server import made

if TYPE_CHECKING:
    from mcp.server.auth.provider import AccessToken

    from energy_plugin.mcp.shelf import Shelf

PATH = "/mcp"
FEWEST = 16  # characters of a token


class OneToken:
    """The SDK's `TokenVerifier` of a single secret."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Accept the secret, compared in constant time."""
        from mcp.server.auth.provider import AccessToken

        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            return None
        return AccessToken(token=token, client_id="energy-plugin", scopes=[])


def over_stdio(shelf: Shelf, **options: Any) -> None:
    """Serve one client on standard input and output, until it closes them.

    What anything else prints goes to standard error.
    """
    server = made(shelf, **options)
    anyio.run(server.run_stdio_async)


def over_http(
    shelf: Shelf,
    host: str,
    port: int,
    token: str,
    ready: Callable[[str], None],
    **options: Any,
) -> None:
    """Serve any number of clients over streamable HTTP, until interrupted.

    Parameters
    ----------
    shelf : Shelf
    host : str
        Address to listen on.
    port : int
        0 for a free one.
    token : str
        Every request has to bring it, as ``Authorization: Bearer``.
    ready : callable
        Called with the URL once requests are accepted.

    Raises
    ------
    InvalidInputError
        The address cannot be listened on, or the token is short.
    """
    import uvicorn
    from mcp.server.auth.settings import AuthSettings
    from pydantic import AnyHttpUrl

    as_token(token)
    listener = _listener(host, port)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{listener.getsockname()[1]}"
    auth = AuthSettings(issuer_url=AnyHttpUrl(base), resource_server_url=None)
    server = made(shelf, verifier=OneToken(token), auth=auth, **options)
    app = server.streamable_http_app(streamable_http_path=PATH, host=host)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    ready(f"{base}{PATH}")
    uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def as_token(token: str) -> str:
    """A token that is long enough and can stand in a header.

    Raises
    ------
    InvalidInputError
    """
    if len(token) < FEWEST or not token.isascii() or any(c.isspace() for c in token):
        raise InvalidInputError(
            f"The token has {len(token)} characters, expected at least {FEWEST}, ASCII and "
            "without spaces. Make one with: python -c 'import secrets; "
            "print(secrets.token_urlsafe())'"
        )
    return token


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise InvalidInputError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. Give another --port, "
            "or 0 for a free one."
        ) from error
    return found
