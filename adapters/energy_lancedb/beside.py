"""Tables of the plugin's own beside a host table, in the same database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa

from energy_lancedb.host import insist
from energy_plugin.stored.moments import Moment, reached

FIELDS = "__energy"  # behind the name of the host table: its fields
ROWS = "_rows"  # behind that: the columns of its rows, in the companion layout


def is_own(name: str) -> bool:
    """Whether a table of that name is the plugin's."""
    return name.endswith((FIELDS, FIELDS + ROWS))


def put(connection: Any, name: str, rows: pa.Table, namespace: list[str] | None = None) -> None:
    """Add rows to a table of the plugin's own, which is made where there is none."""
    place = {"namespace_path": namespace} if namespace else {}

    def commit() -> None:
        table = open_or_none(connection, name, namespace)
        reached(Moment.WRITING)
        if table is not None:
            table.add(rows)
            return
        try:
            connection.create_table(name, rows, **place)
        except Exception:
            table = open_or_none(connection, name, namespace)
            if table is None:
                raise
            table.add(rows)  # another process has just made it

    insist(name, commit)


def clear(table: Any, where: str) -> None:
    """Delete rows of a table of the plugin's own."""

    def commit() -> None:
        reached(Moment.WRITING)
        table.delete(where)

    insist(str(table.name), commit, table.checkout_latest)


def clean(table: Any, older_than: timedelta) -> None:
    """Compact a table of the plugin's own and remove its old versions."""

    def commit() -> None:
        reached(Moment.WRITING)
        table.optimize(cleanup_older_than=older_than)

    insist(str(table.name), commit, table.checkout_latest)


def open_or_none(connection: Any, name: str, namespace: list[str] | None = None) -> Any | None:
    """A table of the database, or None if it does not exist."""
    try:
        return connection.open_table(name, **({"namespace_path": namespace} if namespace else {}))
    except Exception as error:  # each kind of database has its own
        if re.search("not found|does not exist", str(error), re.IGNORECASE):
            return None
        raise


def in_history(table: Any, where: str, columns: list[str]) -> Iterator[pa.Table]:
    """Rows that match, in each version of a table that has any, the newest version first.

    Parameters
    ----------
    table : lancedb.table.LanceTable
        A handle of the caller's own: it is moved through the versions.
    """
    versions = None
    while versions is None or versions:
        if versions:
            table.checkout(versions.pop())
        found = table.search().where(where).select(columns).to_arrow()
        if found.num_rows:
            yield found
        if versions is None:
            versions = sorted(int(v["version"]) for v in table.list_versions())[:-1]
