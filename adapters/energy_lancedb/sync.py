"""The synchronous side of whatever stands for a table."""

from __future__ import annotations

from typing import Any

from energy_lancedb.live import LiveTable
from energy_lancedb.table import EnergyTable


def sync_view(table: Any) -> Any:
    """The synchronous LanceDB table over the same handle as an asynchronous one.

    Blocks for moments; LanceDB runs its own event loop in a thread of its own.
    """
    from lancedb import AsyncConnection
    from lancedb.background_loop import LOOP
    from lancedb.table import LanceTable

    view = LOOP.run(LanceTable.from_inner(table._inner))
    database = view._conn
    # what LanceDB makes here can neither open other tables nor reach an object store
    if not isinstance(database._conn, AsyncConnection):
        database._conn = AsyncConnection(database._conn)
    database.storage_options = LOOP.run(table.latest_storage_options())
    return view


def is_asynchronous(table: Any) -> bool:
    """Whether this is LanceDB's AsyncTable."""
    return hasattr(table, "vector_search") and hasattr(table, "_inner")


def live_table_of(table: Any, column: str | None, device: str | None) -> LiveTable:
    """What an EnergyTable, an AsyncEnergyTable or a table of LanceDB's is ranked by."""
    inner = getattr(table, "_energy", table)
    if isinstance(inner, EnergyTable):
        return inner._live
    if is_asynchronous(inner):
        inner = sync_view(inner)
    return LiveTable(inner, column, device=device)
