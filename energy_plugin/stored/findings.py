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
    """One problem of a stored field.

    Parameters
    ----------
    kind : str
        One of `KINDS`, the worst first: no field; bytes or types that cannot be read; a field of
        other vectors or another embedder; a field that only an older version of its table has; a
        field of another table, of which this one is a copy; values of rows that differ from those
        that were written; rows changed since the last `refresh`; rows that the host's own search
        no longer finds, although energy search does; leftovers of an interrupted write.
    message : str
        What is wrong.
    remedy : str
        The call that fixes it.
    ids : tuple of hashable
        Affected rows or records.
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
        Problems before the repair.
    remaining : tuple of Finding
        Problems after the repair.
    """

    found: tuple[Finding, ...] = ()
    remaining: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether no problems remain."""
        return not self.remaining
