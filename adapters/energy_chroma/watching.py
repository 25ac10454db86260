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
whole      at that state every row was compared, by a `Survey` in the background; queries then
           need nothing of Chroma but what they show
========== ===================================================================
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from energy_plugin.stored import Changes
from energy_plugin.stored.comparing import by_vectors

if TYPE_CHECKING:
    from energy_chroma.fields import ChromaField
    from energy_chroma.keeper import CollectionKeeper

logger = logging.getLogger(__name__)

State = tuple[tuple[int, int, int], ...]

SETTLED = 0.1  # seconds a change has to lie back; clocks of files tick every 1 to 10 ms
COARSE = 2.5  # the same where times are whole seconds
OFTEN = 16  # queries at one state after which comparing every row pays
PAGE = 256  # rows compared at a time
SHARE = 0.5  # of the time that a survey works


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


def survey(keeper: CollectionKeeper, live: ChromaField, state: State) -> threading.Thread:
    """Compare every row in a thread beside, some of the time; `Watch.whole` afterwards."""
    keeper.watching.surveyed = state
    thread = threading.Thread(target=_survey, args=(keeper, live, state), name="energy-survey")
    thread.start()
    return thread


def _survey(keeper: CollectionKeeper, live: ChromaField, state: State) -> None:
    try:
        with keeper.lock:
            ids = live.rows.ids
        for start in range(0, len(ids), PAGE):
            began = time.perf_counter()
            some = ids[start : start + PAGE]
            fields = ["embeddings"] if live.words is None else ["embeddings", "documents"]
            records = live.host.records(some, fields)
            with keeper.lock:
                # the program has ended, or there is something new to be looked at
                stopped = not threading.main_thread().is_alive()
                if stopped or keeper.live is not live or live.host.state() != state:
                    return
                found = by_vectors(live.rows, records["embeddings"])
                gone = tuple(name for name in some if name not in records["ids"])
                found = found | Changes(removed=gone) if gone else found
                if live.words is not None and records["documents"]:
                    held = records["documents"]
                    other = live.words.differing(list(held), list(held.values()))
                    found = found | Changes(changed=tuple(other)) if other else found
                if found:
                    live.apply(found)
            time.sleep((time.perf_counter() - began) * (1 / SHARE - 1))
        count = live.host.count()
        with keeper.lock:
            # known rows are all there: as many rows are the same ones
            if keeper.live is live and count != len(live):
                live.catch_up()
            if keeper.live is live and live.host.state() == state and not live.unreadable:
                keeper.watching.whole = state
    except Exception:  # a query says it better, if there is something to say
        logger.debug("the rows of %r were not compared", live.host.name, exc_info=True)
