"""Hits in the shape of Chroma's own QueryResult."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from chromadb.api.types import QueryResult

from energy_chroma.query import Hits

ENERGIES = "energies"
_FETCHED = ("documents", "metadatas", "uris", "data", "embeddings")


def split(include: Sequence[str]) -> list[str]:
    """The part of `include` that Chroma knows; a copy, as Chroma adds to the list."""
    return [name for name in include if name != ENERGIES]


def fetched(include: Sequence[str]) -> list[str]:
    """The fields of `include` that come from the host's rows."""
    return [name for name in _FETCHED if name in include]


def assemble(hits: Hits, include: Sequence[str]) -> QueryResult:
    """What ``collection.query`` returns, with energy distances.

    Fields that were not asked for are None. With ``"energies"`` in `include` there is one key
    more: per query and hit, the three terms whose sum is the distance.
    """

    def column(name: str) -> Any:
        if name not in include:
            return None
        values = hits.records[name]
        rows = [[values.get(row) for row in ids] for ids in hits.ids]
        return [np.array(row) for row in rows] if name == "embeddings" else rows

    result: dict[str, Any] = {
        "ids": hits.ids,
        "embeddings": column("embeddings"),
        "documents": column("documents"),
        "uris": column("uris"),
        "included": list(include),
        "data": column("data"),
        "metadatas": column("metadatas"),
        "distances": hits.distances if "distances" in include else None,
    }
    if ENERGIES in include:
        result[ENERGIES] = hits.energies
    return cast(QueryResult, result)
