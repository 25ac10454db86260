"""Who else in a database points to a stored field: other tables, branches, tags and columns.

A table takes its pointer along when it is cloned, branched, tagged, renamed or copied as a
folder. So before rows of a table of the plugin's own are deleted, every pointer of the database
is read, and what one of them names stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from energy_lancedb.beside import clear, is_own, open_or_none
from energy_lancedb.host import Host
from energy_lancedb.pointer import Pointer, rows_of
from energy_plugin.stored.moments import Moment, reached

log = logging.getLogger(__name__)


class Claims:
    """The pointers of a database but for that of one field's latest version; read once.

    Parameters
    ----------
    host : Host
        The table that is about to delete. Its tags, its other branches and the fields of its
        other vector columns count as others.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pointers: list[Pointer] | None = None

    def on(self, name: str) -> list[Pointer]:
        """Pointers to fields in the table of that name."""
        if self._pointers is None:
            self._pointers = list(self._read())
        return [pointer for pointer in self._pointers if pointer.artefacts == name]

    def delete(self, table: Any, name: str, condition: str = "true") -> None:
        """Delete rows of a table of the plugin's own, but for those that others point to.

        Where the pointers of the database cannot be read all rows stay: the next call that
        publishes a field tries again.

        Parameters
        ----------
        table : lancedb.table.LanceTable
        name : str
            The name that pointers give: that of the table of fields.
        condition : str
            SQL condition on the rows; without one the table is dropped if it ends up empty.
        """
        if condition != "true" and table.count_rows(condition) == 0:
            return
        try:
            kept = sorted({rows_of(pointer) for pointer in self.on(name)})
        except Exception as error:  # a table that cannot be opened may need any row
            log.warning("kept old rows of %r: not every table can be read (%s)", table.name, error)
            return
        if kept or condition != "true":
            clear(table, " AND NOT ".join([f"({condition})", *kept]))
        else:
            place = {"namespace_path": self._host.namespace} if self._host.namespace else {}
            reached(Moment.WRITING)
            self._host.connection.drop_table(str(table.name), **place)

    def _read(self) -> Iterator[Pointer]:
        for name in self._names():
            table = self._open(name)
            if table is None:  # dropped in this moment
                continue
            mine = name == self._host.name
            if mine:
                yield from _readable(self._host, skip=self._host.key)
            yield from _pointers_of(table, self._host, skip=self._host.branch if mine else "")

    def _open(self, name: str) -> Any | None:
        return open_or_none(self._host.connection, name, self._host.namespace)

    def _names(self) -> Iterator[str]:
        place = {"namespace_path": self._host.namespace} if self._host.namespace else {}
        token = None
        while True:
            page = self._host.connection.list_tables(page_token=token, **place)
            yield from (name for name in page.tables if not is_own(name))
            token = page.page_token
            if not token:
                return


def _pointers_of(table: Any, host: Host, *, skip: str | None) -> Iterator[Pointer]:
    """Those of the main branch, the other branches and the tags; one branch is left out."""
    handles: list[Any] = []
    if skip is not None:
        handles.append(table)
    branches: Any = getattr(table, "branches", None)
    for name in branches.list() if branches is not None else ():
        if name != skip:
            handles.append(branches.checkout(name))
    for tag in table.tags.list():
        handle = open_or_none(host.connection, str(table.name), host.namespace)
        if handle is not None:
            handle.checkout(tag)
            handles.append(handle)
    beside = host.has_dataset()
    for handle in handles:
        other = Host(handle, host.connection)
        if beside and not other.has_dataset():  # its pointer may be where it cannot be seen
            raise RuntimeError(f"pylance cannot open table {other.name!r}")
        yield from _readable(other)


def _readable(host: Host, skip: str | None = None) -> Iterator[Pointer]:
    """The pointers of a table's fields, but for one; an error where one cannot be read."""
    for key, pointer in host.pointers().items():
        if key != skip:
            if pointer is None:
                raise RuntimeError(f"an energy pointer of table {host.name!r} is unreadable")
            yield pointer
