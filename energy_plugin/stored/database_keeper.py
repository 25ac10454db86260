"""The stored field of a table of any database."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from energy_plugin.energy.config import as_config
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)
from energy_plugin.stored.changes import Changes
from energy_plugin.stored.comparing import scan
from energy_plugin.stored.database import Database, Generation
from energy_plugin.stored.fitting import Costs, fitted
from energy_plugin.stored.info import FieldInfo, column_bytes_of, described
from energy_plugin.stored.keeper import Taken
from energy_plugin.stored.live import LiveField
from energy_plugin.stored.moments import Moment, reached
from energy_plugin.stored.rows import RowMap
from energy_plugin.stored.taking import released, taken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex
    from energy_plugin.stored.findings import Finding

ATTEMPTS = 20  # at what another writer was faster with
Live = LiveField[Database, int]  # the pointer is the number of the generation


class DatabaseKeeper:
    """See `Keeper`; for a database that has the methods of `Database`.

    Parameters
    ----------
    database : Database
    device : str, optional
    costs : Costs
        What the database takes under a memory limit.
    """

    def __init__(self, database: Database, device: str | None, costs: Costs) -> None:
        self.database = database
        self.device = device
        self.costs = costs
        self.lock = threading.RLock()
        self._live: Live | None = None
        self._state: Any = None

    def open(self, *, fresh: bool = False) -> Live:
        """The field in memory, with every row as the database has it now."""
        state = self.database.state()
        live = self._live
        if fresh or live is None or live.pointer != self.database.generation():
            live = self._read()
        elif state == self._state:
            return live
        live.apply(scan(self.database, live.rows))
        self._live, self._state = live, state
        return live

    def _read(self) -> Live:
        from energy_plugin.energy import EnergyField, EnergyIndex

        name, stored = self.database.name, self.database.read()
        if stored is None:
            raise NotBuiltError(f"{name!r} has no energy field yet. Call build() once.")
        now = self.database.embedder()
        if None not in (now, stored.embedder) and now != stored.embedder:
            raise ForeignFieldError(
                f"The energy field of {name!r} was built on vectors of {stored.embedder}, it is "
                f"opened with {now}. Open it with the previous embedder; or, if the rows were "
                "embedded again, call build()."
            )
        field = EnergyField.from_bytes(stored.field)
        if len(stored.ids) != len(stored.columns):
            raise CorruptFieldError(
                f"{name!r} has columns of {len(stored.columns)} rows for {len(stored.ids)} ids. "
                "Call build() again."
            )
        index = EnergyIndex.from_columns(field, stored.columns, device=self.device)
        return LiveField(
            self.database, index, RowMap(stored.ids, stored.fingerprints), stored.number
        )

    def field(self) -> EnergyField:
        """See `Keeper.field`."""
        return self.open().index.field

    def writable(self) -> None:
        """A database says itself that it is read-only."""

    def others_go_on(self) -> AbstractContextManager[None]:
        """See `Keeper.others_go_on`."""
        return released(self.lock)

    def take(self, *, fresh: bool = False) -> Taken:
        """See `Keeper.take`."""
        live = self.open(fresh=fresh)
        return taken(live, live.pending, self.device)

    # -- publishing

    def build(
        self, config: EnergyConfig, memory_limit: int | None, *, show_progress_bar: bool
    ) -> None:
        """Fit a field to all rows and publish it; the lock is free meanwhile."""
        index, rows = fitted(
            self.database,
            config,
            costs=self.costs,
            memory_limit=memory_limit,
            device=self.device,
            show_progress_bar=show_progress_bar,
        )
        with self.lock:
            self._publish(LiveField(self.database, index, rows, 0))

    def publish(self, taken: Taken, index: EnergyIndex, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.publish`."""
        rows = RowMap(taken.origin[1], taken.fingerprints)
        self._publish(LiveField(self.database, index, rows, 0))

    def refit_within(
        self, config: EnergyConfig | None, memory_limit: int, *, show_progress_bar: bool
    ) -> None:
        """See `Keeper.refit_within`."""
        former = self.open()
        settings = former.index.field.config if config is None else config
        bits = former.fidelity()
        index, rows = fitted(
            self.database,
            settings,
            costs=self.costs,
            memory_limit=memory_limit,
            device=self.device,
            show_progress_bar=show_progress_bar,
        )
        live: Live = LiveField(self.database, index, rows, 0)
        live.lower(bits)
        self._publish(live)

    def _publish(self, live: Live) -> None:
        """Store a field, with the rows that came or changed since it was taken or fitted."""
        live.apply(scan(self.database, live.rows))
        rows = live.index.rows
        reached(Moment.WRITING)
        live.pointer = self.database.publish(
            Generation(
                number=0,
                field=live.index.field.to_bytes(),
                embedder=self.database.embedder(),
                ids=live.rows.names(rows.tolist()),
                columns=live.index.columns,
                fingerprints=live.rows.fingerprints(rows),
            )
        )
        reached(Moment.FLIPPED)
        live.pending = Changes()
        self._live, self._state = live, None

    # -- rows that are behind

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """See `Keeper.refresh`."""
        for _ in range(ATTEMPTS):
            live = self.open()
            changes = live.pending
            names = [name for name in (*changes.added, *changes.changed) if name in live.rows]
            numbers = live.rows.numbers(names)
            if changes:
                reached(Moment.WRITING)
            if not changes or self.database.write(
                live.pointer,
                names,
                live.columns_of(numbers),
                live.rows.fingerprints(numbers),
                changes.removed,
            ):
                live.pending = Changes()
                return changes
            self._live = None  # another writer has just published
        raise RuntimeError(
            f"Other processes keep publishing fields of {self.database.name!r}. Try again."
        )

    def times(self, taken: Taken, key: str) -> Sequence[Any]:
        """See `Keeper.times`."""
        values = self.database.values(key)
        given = [values.get(name) for name in taken.origin[1]]
        if given and all(value is None for value in given):
            raise InvalidInputError(
                f"No row of {self.database.name!r} has {key!r}, which should hold its time. Name "
                "the right key."
            )
        return given

    # -- λ

    def in_lambda(self, low: float, high: float) -> tuple[list[Any], NDArray[np.float32]]:
        """See `Keeper.in_lambda`; of the rows in memory."""
        return self.open().in_lambda(low, high)

    def lambda_of(self, row: Any) -> float | None:
        """See `Keeper.lambda_of`."""
        return self.open().lambda_of(row)

    # -- health

    def findings(self, taken: Taken) -> Iterable[Finding]:
        """A database that writes whole or not at all leaves nothing."""
        return ()

    def mend(self, findings: Sequence[Finding]) -> None:
        """There is nothing of its own to mend."""

    def rebuild(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.rebuild`."""
        try:
            config = self._read().index.field.config
        except (CorruptFieldError, ForeignFieldError, NotBuiltError):
            config = as_config(None)
        self.build(config, None, show_progress_bar=show_progress_bar)

    def info(self) -> FieldInfo:
        """See `Keeper.info`."""
        live = self.open()
        known = described(live.index)
        return FieldInfo(
            **known,
            name=self.database.name,
            generation=live.pointer,
            version=live.pointer,
            layout="columns",
            embedder=self.database.embedder(),
            field_bytes=len(live.index.field.to_bytes()),
            column_bytes=column_bytes_of(known),
            pending=live.pending,
            without_vector=len(live.unreadable),
        )

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """See `Keeper.drop`."""
        self._live = None
        reached(Moment.WRITING)
        self.database.drop()
