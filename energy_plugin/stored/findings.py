"""What is wrong with a stored field, and what mends it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

KINDS = (
    *("missing", "corrupt", "foreign", "history", "borrowed"),
    *("altered", "pending", "unreachable", "leftover"),
)
UNUSABLE = frozenset({"missing", "corrupt", "foreign"})  # only a new field mends these


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind : str
        One of `KINDS`, the worst first: no field; bytes or types that cannot be read; a field of
        other vectors or another embedder; a field that stands only in an older version of its
        table; a field of another table, of which this one is a copy; values of rows that differ
        from those that were written; rows that wait for `refresh`; rows that the host's own
        search does not find any more, while energy does; what a write that was cut short has
        left.
    message : str
        What is wrong.
    remedy : str
        The call that mends it.
    ids : tuple of hashable
        Rows or records that are concerned.
    """

    kind: str
    message: str
    remedy: str
    ids: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class RepairReport:
    """What `repair` did.

    Parameters
    ----------
    found : tuple of Finding
        What was wrong before.
    remaining : tuple of Finding
        What still is.
    """

    found: tuple[Finding, ...] = ()
    remaining: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return not self.remaining
