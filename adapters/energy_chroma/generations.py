"""Records of a companion by generation, and whose they are.

Chroma has no compare-and-swap. Two processes that write at the same time are kept apart by what
it has: the second ``add`` of an id does nothing, and a filter on metadata tells whose record
stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chromadb.api.models.Collection import Collection

WRITER = "writer"  # metadata key: who wrote a record


def are_ours(companion: Collection, names: Sequence[str], writer: str) -> bool:
    """Whether all these records stand there and were written by this writer."""
    mine: Any = {WRITER: writer}
    found = companion.get(ids=list(names), where=mine, include=[])["ids"]
    return len(found) == len(names)


def highest(companion: Collection) -> int:
    """Highest generation of which a record stands there, 0 without any."""
    names = companion.get(include=[])["ids"]
    return max((_number(name) for name in names), default=0)


def successor(companion: Collection, generation: int) -> tuple[int, int] | None:
    """The field that took the place of one whose own record is gone.

    It may be one that is just being written: rows of chunks that are not there yet are served
    from their own vectors, like any others that are new.

    Returns
    -------
    tuple of int, optional
        Generation and number of chunks; None where the record stands, or no later field does.
    """
    names = set(companion.get(include=[])["ids"])
    if f"{generation}/field/0" in names:
        return None
    fields = {_number(name) for name in names if name.endswith("/field/0")}
    begun = {number for number in fields if f"{number}/rows/0/0" in names}
    newest = max(begun, default=0)
    if newest <= generation:
        return None
    chunks = 1
    while f"{newest}/rows/{chunks}/0" in names:
        chunks += 1
    return newest, chunks


def others(companion: Collection, keep: int) -> list[str]:
    """Records of all generations but one."""
    return _where(companion, {"generation": {"$ne": keep}})


def former(companion: Collection, keep: int) -> list[str]:
    """Records of the generations before one."""
    return _where(companion, {"generation": {"$lt": keep}})


def _number(name: str) -> int:
    """Generation of a record; 0 for one that is none of ours."""
    first = name.split("/", maxsplit=1)[0]
    return int(first) if first.isdecimal() else 0


def _where(companion: Collection, where: Any) -> list[str]:
    return list(companion.get(where=where, include=[])["ids"])
