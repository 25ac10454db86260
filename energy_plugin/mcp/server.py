"""The tools of the server, in the words that agents read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from energy_plugin import __version__
from energy_plugin.errors import (
    CorruptFieldError,
    EnergyPluginError,
    ForeignFieldError,
    NotBuiltError,
)
from energy_plugin.library.remedies import explained
from energy_plugin.mcp import explaining, finding, keeping, looking

if TYPE_CHECKING:
    from mcp.server.auth.provider import TokenVerifier
    from mcp.server.auth.settings import AuthSettings

    from energy_plugin.forgetting import Strength
    from energy_plugin.mcp.shelf import Shelf

Ranking = Literal["hybrid", "energy", "cosine", "words", "fusion"]
Limit = Annotated[int, Field(ge=1, le=100)]
_Result = TypeVar("_Result")
_OF_FIELDS = (CorruptFieldError, ForeignFieldError, NotBuiltError)  # a command is their remedy
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_FORGETS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
_ABOUT = (
    "Documents and notes that are searched by meaning and by words. Start with search; every "
    "result names its source. Use read for the whole text, explain for the reason of a place, "
    "and cite sources in answers. Nothing is forgotten without a plan first."
)


def made(
    shelf: Shelf,
    fading: Strength | None = None,
    *,
    read_only: bool = False,
    column: str = "modified",
    verifier: TokenVerifier | None = None,
    auth: AuthSettings | None = None,
) -> MCPServer[Any]:
    """Give the server of a table or collection.

    Parameters
    ----------
    shelf : Shelf
    fading : Strength, optional
        Order results by relevance × strength.
    read_only : bool, default False
        Leave out the tools that write.
    column : str, default "modified"
        Time of each row, for `forget`.
    verifier, auth : optional
        The SDK's check of tokens, for HTTP.
    """
    server: MCPServer[Any] = MCPServer(
        "energy-plugin",
        instructions=_ABOUT,
        version=__version__,
        log_level="WARNING",
        token_verifier=verifier,
        auth=auth,
    )
    _reading(server, shelf, fading)
    _looking(server, shelf)
    if not read_only:
        _writing(server, shelf, column)
    return server


def _told(shelf: Shelf, call: Callable[[], _Result]) -> _Result:
    """Run one tool alone; our errors reach the agent in full."""
    with shelf.lock:
        try:
            return call()
        except (EnergyPluginError, OSError) as error:
            said = " ".join(str(error).split())
            if isinstance(error, _OF_FIELDS) and "energy-plugin " not in said:
                said = explained(error, shelf.store.path, shelf.store.name)
            raise ToolError(said) from error


def _reading(server: MCPServer[Any], shelf: Shelf, fading: Strength | None) -> None:
    @server.tool(annotations=_READS)
    def search(  # noqa: PLR0917 - agents name them
        question: Annotated[str, Field(description="In plain words.")],
        limit: Limit = 5,
        filters: Annotated[
            dict[str, Any] | None,
            Field(description='{"year": 1990}, {"year": {"$gte": 1990}}, {"$or": [...]}'),
        ] = None,
        sources: Annotated[
            list[str] | None, Field(description="Only rows of these sources.")
        ] = None,
        ranking: Annotated[
            Ranking | None, Field(description="Hybrid where words are indexed, if left out.")
        ] = None,
        min_relevance: Annotated[
            float, Field(ge=0, le=1, description="Rows below are listed as suppressed.")
        ] = 0.0,
    ) -> dict[str, Any]:
        """Find the passages that answer a question; each with source, relevance and fields.

        A relevance below 0.5 probably has nothing to do with the question. What was found and
        not shown is listed as suppressed, with the reason.
        """
        asked = finding.Question(question, limit, filters, sources, ranking, min_relevance)
        return _told(shelf, lambda: finding.search(shelf, asked, fading))

    @server.tool(annotations=_READS)
    def read(
        name: Annotated[str, Field(description="A source, or the id of one row.")],
        start: Annotated[int, Field(ge=0)] = 0,
        characters: Annotated[int, Field(ge=1, le=200_000)] = 20_000,
    ) -> dict[str, Any]:
        """Read a whole document or one passage; next_start says where to continue."""
        return _told(shelf, lambda: finding.read(shelf, name, start=start, characters=characters))

    @server.tool(annotations=_READS)
    def explain(
        question: str,
        id: Annotated[str, Field(description="Of a result.")],
        other: Annotated[
            str | None, Field(description="Another result: why is one above the other?")
        ] = None,
        ranking: Literal["hybrid", "energy"] | None = None,
    ) -> dict[str, Any]:
        """Say why a row stands where it stands: terms, shared words, neighbours."""
        return _told(shelf, lambda: explaining.explain(shelf, question, id, other, ranking))


def _looking(server: MCPServer[Any], shelf: Shelf) -> None:
    @server.tool(annotations=_READS)
    def related(
        id: str,
        limit: Limit = 5,
        to: Annotated[
            str | None, Field(description="Another row: the path between the two.")
        ] = None,
    ) -> dict[str, Any]:
        """List the rows nearest to a row, or the rows on the way from it to another."""
        return _told(shelf, lambda: looking.related(shelf, id, limit, to))

    @server.tool(annotations=_READS)
    def near_duplicates(
        threshold: Annotated[
            float | None, Field(gt=0, le=1, description="Least similarity; 0.95 if left out.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="Groups to list.")] = 20,
    ) -> dict[str, Any]:
        """List groups of rows that nearly repeat one another."""
        return _told(shelf, lambda: looking.duplicates(shelf, threshold, limit))

    @server.tool(annotations=_READS)
    def status(
        check: Annotated[
            bool, Field(description="Also look for damage; reads everything.")
        ] = False,
    ) -> dict[str, Any]:
        """Tell what is stored: rows, bytes, drift, default ranking."""
        return _told(shelf, lambda: looking.status(shelf, check=check))

    @server.tool(annotations=_READS)
    def history(limit: Limit = 20) -> dict[str, Any]:
        """List what was added and forgotten through this server, the newest first."""
        return _told(shelf, lambda: {"entries": shelf.ledger.read(limit)})


def _writing(server: MCPServer[Any], shelf: Shelf, column: str) -> None:
    forgetting = keeping.Forgetting(shelf, column)

    @server.tool(annotations=_ADDS)
    def add_note(
        text: str,
        value: Annotated[float, Field(ge=0, le=1, description="How much it matters.")] = 1.0,
        pinned: Annotated[bool, Field(description="Never fades and is never forgotten.")] = False,
        fields: Annotated[
            dict[str, str | int | float | bool] | None, Field(description="For filters.")
        ] = None,
    ) -> dict[str, Any]:
        """Keep a note; it can be searched at once."""
        return _told(
            shelf,
            lambda: keeping.add_note(shelf, text, value=value, pinned=pinned, fields=fields),
        )

    @server.tool(annotations=_FORGETS)
    def forget(
        notes: Annotated[
            list[str] | None, Field(description="Notes to remove; else old rows lose precision.")
        ] = None,
        plan: Annotated[str | None, Field(description="Carry out a plan of a dry run.")] = None,
    ) -> dict[str, Any]:
        """Plan what to forget, then carry the plan out in a second call.

        Without notes, old rows are stored with less precision and none disappears. Pinned rows
        stay as they are. Every execution is in the history, with the text of removed notes.
        """
        if plan is not None and notes is not None:
            raise ToolError("Give either notes, for a plan, or plan, to carry it out.")
        if plan is not None:
            return _told(shelf, lambda: forgetting.carry_out(plan))
        return _told(shelf, lambda: forgetting.plan(notes))
