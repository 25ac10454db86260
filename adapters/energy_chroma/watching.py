"""Whether anything was written since it was last looked: of a database in files, at no cost.

Chroma's embedded database writes each change into one SQLite file before it is done, whoever
makes it, and reads leave that file alone. While the file stays as it is, what was compared
need not be compared again. Its time of change stands for the file; a file that has just changed
could change again within the resolution of that time, and counts as unknown. A server and a
database in memory have no such file: there every query looks.

========== ===================================================================
state      of the file: time of change, size, number
pointed    at that state the pointer of the stored field was read
counted    at that state the rows were counted; `ChromaField.counted_at`
whole      at that state every row was compared, by a `survey` in the background; queries then
           need nothing of Chroma but what they show
========== ===================================================================
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

State = tuple[tuple[int, int, int], ...]

SETTLED = 0.1  # seconds a change has to lie back; clocks of files tick every 1 to 10 ms
COARSE = 2.5  # the same where times are whole seconds
OFTEN = 16  # queries at one state after which comparing every row pays


def state_of(file: str) -> State | None:
    """The state of a SQLite file; None where it is unknown."""
    found = []
    for name in (file, f"{file}-wal"):
        try:
            seen = os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
    if not found:
        return None
    now = time.time_ns()
    for changed, _, _ in found:
        settled = COARSE if changed % 1_000_000_000 == 0 else SETTLED
        if not settled * 1e9 < now - changed:
            return None
    return tuple(found)


@dataclass(frozen=True)
class Look:
    """What a query looks for.

    Parameters
    ----------
    rows : bool
        Count the rows.
    near : bool
        Compare rows near the query.
    hits : bool
        Compare the hits with what the host holds.
    present : bool
        Every row is known to be there as it is.
    state : State, optional
        At which that is so.
    """

    rows: bool
    near: bool
    hits: bool
    present: bool = False
    state: State | None = None


class Watch:
    """What is known of the host at which state; `CollectionKeeper` has one and its lock."""

    def __init__(self) -> None:
        self.pointed: State | None = None
        self.whole: State | None = None
        self.surveyed: State | None = None  # by a survey that has begun
        self._asked = 0
        self._last: State | None = None

    def forget(self) -> None:
        """Nothing is known: the field in memory is another one."""
        self.__init__()  # type: ignore[misc]

    def asked(self, state: State | None) -> bool:
        """Note a query; whether a survey is worth its while."""
        self._asked = self._asked + 1 if state == self._last else 1
        self._last = state
        return state is not None and state != self.surveyed and self._asked >= OFTEN
