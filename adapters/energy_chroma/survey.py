"""Every row compared with what Chroma holds, in a thread beside the queries."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from energy_chroma.fields import ChromaField
from energy_chroma.watching import State, Watch
from energy_plugin.stored import Changes
from energy_plugin.stored.comparing import by_vectors

logger = logging.getLogger(__name__)

PAGE = 256  # rows compared at a time
SHARE = 0.5  # of the time that a survey works


class Kept(Protocol):
    """What a survey takes of a `CollectionKeeper`."""

    lock: threading.RLock
    live: ChromaField | None
    watching: Watch


def survey(keeper: Kept, live: ChromaField, state: State) -> threading.Thread:
    """Compare every row in a thread beside, some of the time; `Watch.whole` afterwards."""
    keeper.watching.surveyed = state
    thread = threading.Thread(target=_survey, args=(keeper, live, state), name="energy-survey")
    thread.start()
    return thread


def _survey(keeper: Kept, live: ChromaField, state: State) -> None:
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
