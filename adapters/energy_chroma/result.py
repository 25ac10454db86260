"""Hits in the shape of Chroma's own QueryResult."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from chromadb.api.types import QueryResult

from energy_chroma.query import Hits
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyTerms, Reranking

ENERGIES = "energies"
SCORES = "scores"
RELEVANCE = "relevance"
_FETCHED = ("documents", "metadatas", "uris", "data", "embeddings")


def checked(include: Any) -> list[str]:
    """A list of names.

    Raises
    ------
    InvalidInputError
        It is something else.
    """
    if isinstance(include, (list, tuple)) and all(isinstance(name, str) for name in include):
        return list(include)
    raise InvalidInputError(
        f"include must be a list of names, got {include!r}. Leave it out for metadatas, "
        "documents and distances."
    )


def split(include: Sequence[str]) -> list[str]:
    """The part of `include` that Chroma knows; a copy, as Chroma adds to the list."""
    return [name for name in include if name != ENERGIES]


def extended(include: Sequence[str], prepared: Sequence[str]) -> list[str]:
    """`include` with what Chroma added to it: uris, where it has to load their data."""
    return [*include, *(name for name in prepared if name not in include)]


def fetched(include: Sequence[str], *, loader: bool) -> list[str]:
    """The fields of `include` that come from the host's rows; no data without a `loader`."""
    names = [name for name in _FETCHED if name in include]
    return names if loader else [name for name in names if name != "data"]


def assemble(hits: Hits, include: Sequence[str]) -> QueryResult:
    """What ``collection.query`` returns, with energy distances.

    Fields that were not asked for are None, and so is data that nothing loads. One key more,
    ``"relevance"``, has 0 to 1 for every hit; with ``"energies"`` in `include` another has the
    terms whose sum is the distance.
    """

    def column(name: str) -> Any:
        if name not in include or name not in hits.records:
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
        RELEVANCE: hits.relevance,
    }
    if ENERGIES in include:
        result[ENERGIES] = hits.energies
    return cast(QueryResult, result)


def terms_of(terms: EnergyTerms) -> list[dict[str, float]]:
    """The terms of one query's hits as dictionaries."""
    return [
        {"lambda": lambda_, "dispersion": dispersion, "dirichlet": dirichlet, "lexical": lexical}
        for lambda_, dispersion, dirichlet, lexical in zip(
            terms.lambda_.tolist(),
            terms.dispersion.tolist(),
            terms.dirichlet.tolist(),
            terms.lexical.tolist(),
            strict=True,
        )
    ]


def reordered(
    result: QueryResult, kept: Sequence[Sequence[int]], found: Sequence[Reranking]
) -> QueryResult:
    """A result of Chroma in another order, with energy distances, scores and terms.

    Parameters
    ----------
    result : QueryResult
    kept : sequence of sequence of int
        Places of each list that were ranked.
    found : sequence of Reranking
        Orders of these places.
    """
    orders = [
        [places[row] for row in one.order.tolist()] for places, one in zip(kept, found, strict=True)
    ]
    out: dict[str, Any] = {}
    for name, value in result.items():
        if name == "included" or not isinstance(value, list):
            out[name] = value
            continue
        out[name] = [
            line[order] if isinstance(line, np.ndarray) else [line[place] for place in order]
            for line, order in zip(value, orders, strict=True)
        ]
    distances = [one.distances.tolist() for one in found]
    if result.get("distances") is not None:
        out["distances"] = distances
    out[SCORES] = [[-distance for distance in line] for line in distances]
    out[ENERGIES] = [terms_of(one.terms) for one in found]
    return cast(QueryResult, out)
