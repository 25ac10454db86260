"""The writing side: rows change, and their energy columns follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.embedding import error_behind
from energy_lancedb.host import prints_of
from energy_lancedb.layout import layout_of
from energy_lancedb.pointer import pointer_of
from energy_lancedb.reader import EnergyReader

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns

UNKNOWN_VERSION = -1  # of a snapshot that has to be looked at again

log = logging.getLogger(__name__)


class EnergyWriter(EnergyReader):
    """What changes rows, through LanceDB, and keeps their columns right."""

    def add(self, data: Any, **options: Any) -> Any:
        """Add rows as `table.add` does, and write their energy columns.

        Where the columns cannot be written, which the log says, the rows are in the table all
        the same: searches rank them by their vectors, and `refresh` writes their columns. The
        same holds for `merge_insert` and `update`.

        Parameters
        ----------
        data, **options
            See `lancedb.table.Table.add`.

        Returns
        -------
        lancedb.AddResult

        Raises
        ------
        ForeignFieldError, CorruptFieldError
            The table has a field that cannot be used. Nothing is added.
        InvalidInputError
            The optical embedding function was given an empty text, or a version is checked
            out. Nothing is added.
        """
        return self._changed(
            lambda: self.host.table.add(data, **options),
            check=options.get("mode") != "overwrite",
            again=not isinstance(data, Iterator),
        )

    def merge_insert(self, on: Any) -> Any:
        """Update and insert as `table.merge_insert` does, and write the energy columns.

        Parameters
        ----------
        on : str or list of str
            Key columns.

        Returns
        -------
        lancedb.merge.LanceMergeInsertBuilder
            Its `execute` also writes the columns of the rows that changed.
        """
        builder = self.host.table.merge_insert(on)
        execute = builder.execute

        def executed(*arguments: Any, **options: Any) -> Any:
            given = [*arguments, *options.values()]
            again = not any(isinstance(one, Iterator) for one in given)
            return self._changed(lambda: execute(*arguments, **options), again=again)

        builder.execute = executed
        return builder

    def update(self, where: Any = None, values: Any = None, **options: Any) -> Any:
        """Change columns as `table.update` does, and write the energy columns.

        As in LanceDB, a changed text is not embedded again: give its vector too, or use
        `merge_insert`, which embeds.

        Parameters
        ----------
        where, values, **options
            See `lancedb.table.Table.update`.

        Returns
        -------
        lancedb.UpdateResult
        """
        return self._changed(lambda: self.host.table.update(where, values, **options))

    def delete(self, where: Any) -> Any:
        """Delete rows as `table.delete` does."""
        self.host.require_latest()
        return self.host.insist(lambda: self.host.table.delete(where), move=True)

    def optimize(self, *, cleanup_older_than: timedelta | None = None, **options: Any) -> Any:
        """Compact the table as `table.optimize` does, and note that its columns still agree.

        The companion tables are cleaned of versions of the same age.

        Parameters
        ----------
        cleanup_older_than, **options
            See `lancedb.table.Table.optimize`.
        """
        with self.lock:
            self.host.require_latest()
            optimize = partial(self.host.table.optimize, cleanup_older_than=cleanup_older_than)
            result = self.host.insist(partial(optimize, **options), move=True)
            self.host.latest()
            if pointer_of(self.host.schema) is not None:
                self.refresh()
                pointer = self.pointer()
                self.artefacts(pointer.artefacts).clean(cleanup_older_than)
                layout_of(pointer.layout, self.host).clean(cleanup_older_than)
        return result

    def restore(self, version: int | str | None = None) -> None:
        """Make an older version the latest one, with the field that it had.

        Parameters
        ----------
        version : int or str, optional
            Number or tag; by default the one that is checked out.

        Raises
        ------
        CorruptFieldError
            The field of that version is gone, as `optimize(cleanup_older_than=...)` cleaned it
            away. The table is restored; `build` gives it a new field.
        """
        with self.lock:
            self.host.table.restore(version if version is not None else self.host.pinned)
            self.checkout_latest()
            pointer = pointer_of(self.host.schema)
            if pointer is not None:
                self.artefacts(pointer.artefacts).revive(pointer)
                layout_of(pointer.layout, self.host).revive(pointer)
                self.refresh()

    def refresh(self) -> int:
        """Write the energy columns of rows that were added or changed without the plugin.

        Returns
        -------
        int
            How many rows.
        """
        with self.lock:
            self.host.require_latest()
            snapshot = self.snapshot()

            def encode(rowids: NDArray[np.uint64], vectors: NDArray[np.float32]) -> EnergyColumns:
                rows, same = snapshot.find_same(rowids, prints_of(vectors))
                return snapshot.columns_of(rows) if same.all() else snapshot.index.encode(vectors)

            layout = layout_of(snapshot.pointer.layout, self.host)
            count = layout.catch_up(snapshot.pointer, encode)
            if count:
                self._snapshot = replace(snapshot, version=UNKNOWN_VERSION)
            return count

    def _changed(self, change: Callable[[], Any], *, check: bool = True, again: bool = True) -> Any:
        """Run a change of rows, then write the columns of what it left stale.

        LanceDB gives rows up that lose against a commit of columns, as any build makes one; they
        are written again where their data can be read twice.
        """
        with self.lock:
            self.host.require_latest()
            self.host.latest()
            if check and pointer_of(self.host.schema) is not None:
                self.snapshot()  # raises before anything is written
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
                    self.refresh()
            except Exception:
                log.warning(
                    "the energy columns of rows that changed in %r could not be written; "
                    "refresh() writes them",
                    self.host.name,
                    exc_info=True,
                )
        return result
