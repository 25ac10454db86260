"""The writing side: rows change, and their energy columns follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from energy_lancedb.embedding import error_behind
from energy_lancedb.keeper import TableKeeper
from energy_lancedb.layouts import layout_of
from energy_lancedb.pointer import pointer_of

log = logging.getLogger(__name__)


class RowWriter:
    """Changes rows, through LanceDB, and keeps their columns right; see `EnergyTable`.

    Parameters
    ----------
    keeper : TableKeeper
    """

    def __init__(self, keeper: TableKeeper) -> None:
        self.keeper = keeper
        self.live = keeper.live
        self.host = keeper.host

    def add(self, data: Any, **options: Any) -> Any:
        """See `EnergyTable.add`."""
        return self._changed(
            lambda: self.host.table.add(data, **options),
            check=options.get("mode") != "overwrite",
            again=not isinstance(data, Iterator),
        )

    def merge_insert(self, on: Any) -> Any:
        """See `EnergyTable.merge_insert`."""
        builder = self.host.table.merge_insert(on)
        execute = builder.execute

        def executed(*arguments: Any, **options: Any) -> Any:
            given = [*arguments, *options.values()]
            again = not any(isinstance(one, Iterator) for one in given)
            return self._changed(lambda: execute(*arguments, **options), again=again)

        builder.execute = executed
        return builder

    def update(self, where: Any = None, values: Any = None, **options: Any) -> Any:
        """See `EnergyTable.update`."""
        return self._changed(lambda: self.host.table.update(where, values, **options))

    def delete(self, where: Any) -> Any:
        """See `EnergyTable.delete`."""
        self.host.require_latest()
        return self.host.insist(lambda: self.host.table.delete(where), move=True)

    def optimize(self, *, cleanup_older_than: timedelta | None = None, **options: Any) -> Any:
        """See `EnergyTable.optimize`."""
        with self.live.lock:
            self.host.require_latest()
            optimize = partial(self.host.table.optimize, cleanup_older_than=cleanup_older_than)
            result = self.host.insist(partial(optimize, **options), move=True)
            self.host.latest()
            if pointer_of(self.host.schema) is not None:
                self.keeper.refresh()
                pointer = self.live.pointer()
                if self.keeper.owns(pointer):
                    self.live.artefacts(pointer.artefacts).clean(cleanup_older_than)
                    layout_of(pointer.layout, self.host).clean(pointer, cleanup_older_than)
        return result

    def restore(self, version: int | str | None = None) -> None:
        """See `EnergyTable.restore`."""
        with self.live.lock:
            self.host.table.restore(version if version is not None else self.host.pinned)
            self.live.checkout_latest()
            pointer = pointer_of(self.host.schema)
            if pointer is not None:
                if self.keeper.owns(pointer):
                    self.live.artefacts(pointer.artefacts).revive(pointer)
                    layout_of(pointer.layout, self.host).revive(pointer)
                else:
                    self.keeper.adopt()
                self.keeper.refresh()

    def _changed(self, change: Callable[[], Any], *, check: bool = True, again: bool = True) -> Any:
        """Run a change of rows, then write the columns of what it left stale.

        LanceDB gives rows up that lose against a commit of columns, as any build makes one; they
        are written again where their data can be read twice.
        """
        with self.live.lock:
            self.host.require_latest()
            self.host.latest()
            if check and pointer_of(self.host.schema) is not None:
                self.live.snapshot()  # raises before anything is written
            try:
                result = self.host.insist(change, move=True) if again else change()
            except Exception as error:
                own = error_behind(error)
                if own is None:
                    raise
                raise own from error
            try:
                self.host.latest()
                if pointer_of(self.host.schema) is not None:
                    self.keeper.refresh()
            except Exception:
                log.warning(
                    "the energy columns of rows that changed in %r could not be written; "
                    "refresh() writes them",
                    self.host.name,
                    exc_info=True,
                )
        return result
