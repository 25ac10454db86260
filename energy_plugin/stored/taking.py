"""The live rows of a field in memory, taken apart from what other threads go on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from energy_plugin.stored.changes import Changes
from energy_plugin.stored.keeper import Taken

if TYPE_CHECKING:
    from threading import RLock

    from energy_plugin.stored.live import LiveField


@contextmanager
def released(lock: RLock) -> Iterator[None]:
    """Let go of a lock that this thread holds once, and take it again at the end."""
    lock.release()
    try:
        yield
    finally:
        lock.acquire()


def taken(live: LiveField[Any, Any], pending: Changes, device: str | None) -> Taken:
    """Live rows and their vectors; `Taken.origin` is (field in memory, ids, columns).

    Parameters
    ----------
    live : LiveField
    pending : Changes
        Rows whose stored columns are behind.
    device : str, optional
    """
    from energy_plugin.energy import EnergyIndex

    numbers = live.index.rows
    names = live.rows.names(numbers.tolist())
    readable, vectors = live.host.vectors(names)
    columns = live.columns_of(numbers)
    return Taken(
        index=EnergyIndex.from_columns(live.index.field, columns, device=device),
        # rows that cannot be read would have no vector
        vectors=vectors if len(readable) == len(names) else None,
        fingerprints=live.rows.fingerprints(numbers),
        pending=pending,
        names=lambda rows: [names[row] for row in rows.tolist()],
        origin=(live, names, columns),
    )
