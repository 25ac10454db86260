"""Named moments of a write: where a test lets a process die, or somebody looks how far it came.

A generation of a field passes them in this order, in every host:

=================== ====================================== =========================================
moment              LanceDB                                Chroma, and `Database` where it says so
=================== ====================================== =========================================
`FITTING`           vectors are read; the lock is free     the same, `Database` too
`NUMBERED`          the next generation has its number     before every attempt at one
`FIELD_WRITTEN`     its bytes stand in the companion       as the first record
`AT_VERSION`        columns are next, for a version        --
`COLUMNS_WRITTEN`   they stand under names of their own    as chunks; also after a single chunk
`FLIPPED`           renamed, or named by the pointer       named by the pointer; `Database` too
`SWEPT`             the former columns are gone            the former records are gone
`INDEXED`           cells have an index                    --
`SHOWN`             --                                     rows show λ, G and cell
=================== ====================================== =========================================

`ROWS_WRITTEN` comes where the user's rows stand and their columns do not, as Chroma stores both
one after the other. `WRITING` comes before each change of the database that the plugin makes.

While nobody watches, a moment costs a look at an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class Moment(Enum):
    """How far a write has come."""

    FITTING = "a field is about to be fitted"
    NUMBERED = "a new generation has its number"
    FIELD_WRITTEN = "the field is stored next to the previous one"
    AT_VERSION = "columns are about to be written for a version of the table"
    COLUMNS_WRITTEN = "the columns stand; only the pointer does not name them"
    FLIPPED = "the pointer names the new columns"
    SWEPT = "the former columns are gone"
    INDEXED = "the cells have an index"
    SHOWN = "the rows show their columns"
    ROWS_WRITTEN = "the user's rows stand, their columns do not"
    WRITING = "the next call changes the database"


Watch = Callable[[Enum], None]

_watching: list[Watch] = []


def reached(moment: Enum) -> None:
    """Say that a write has come so far.

    Parameters
    ----------
    moment : Moment
        Or one of an adapter's own.
    """
    if _watching:
        for watch in list(_watching):
            watch(moment)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Call ``watch(moment)`` at every moment of this process, on the thread that reaches it.

    What it raises goes up as if the write itself had failed there.

    Parameters
    ----------
    watch : callable
    """
    _watching.append(watch)
    try:
        yield
    finally:
        _watching.remove(watch)
