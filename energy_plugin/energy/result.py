"""What a search gives back: row numbers, distances, their terms, and the work done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

CUT_OFF = 0.5  # of the relevance: below it "nothing found" is more often right than wrong
NO_ROW = -1  # in place of an id behind a list that `min_relevance` has shortened


@dataclass(frozen=True, eq=False)
class EnergyTerms:
    """The weighted contributions whose sum is the distance; each (q, k) float32.

    `lexical` is the amount that words and their heat subtracted from the distance: negative if
    they helped, 0 in a search without words.
    """

    lambda_: NDArray[np.float32]
    dispersion: NDArray[np.float32]
    dirichlet: NDArray[np.float32]
    lexical: NDArray[np.float32] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.lexical is None:
            object.__setattr__(self, "lexical", np.zeros_like(self.dirichlet))


@dataclass(frozen=True, eq=False)
class SearchWork:
    """What each query cost; each (q,) int64."""

    cells_probed: NDArray[np.int64]
    rows_scored: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Results of q queries, k each.

    Parameters
    ----------
    ids : ndarray of shape (q, k), int64
        Row numbers, nearest first.
    distances : ndarray of shape (q, k), float32
        Energy distances, ascending.
    terms : EnergyTerms
    work : SearchWork
    relevance : ndarray of shape (q, k), float32
        0 to 1, on the same scale for every field. Below `CUT_OFF`, a result is probably unrelated
        to the question. See `search.relevance`.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float32]
    terms: EnergyTerms
    work: SearchWork
    relevance: NDArray[np.float32] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.relevance is None:
            object.__setattr__(self, "relevance", np.full_like(self.distances, np.nan))

    def at_least(self, relevance: float) -> SearchResult:
        """Only results with at least that relevance, nearest first.

        Arrays stay rectangular, as wide as the longest list. Shorter lists are padded: the id is
        `NO_ROW`, the distance infinite, relevance and terms are 0.
        """
        keep = self.relevance >= relevance
        width = int(keep.sum(1).max()) if keep.size else 0
        order = np.argsort(~keep, axis=1, kind="stable")[:, :width]
        kept = np.take_along_axis(keep, order, 1)

        def some(values: NDArray[Any], empty: float) -> NDArray[Any]:
            return np.where(kept, np.take_along_axis(values, order, 1), values.dtype.type(empty))

        names = [field.name for field in fields(EnergyTerms)]
        return SearchResult(
            some(self.ids, NO_ROW),
            some(self.distances, np.inf),
            EnergyTerms(*(some(getattr(self.terms, name), 0) for name in names)),
            self.work,
            some(self.relevance, 0),
        )


def joined(parts: Sequence[SearchResult], order: NDArray[np.int64]) -> SearchResult:
    """Results of groups of queries as one, in another order of the queries."""

    def put(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(arrays))[order]

    names = [field.name for field in fields(EnergyTerms)]
    return SearchResult(
        put(part.ids for part in parts),
        put(part.distances for part in parts),
        EnergyTerms(*(put(getattr(part.terms, name) for part in parts) for name in names)),
        SearchWork(
            put(part.work.cells_probed for part in parts),
            put(part.work.rows_scored for part in parts),
        ),
        put(part.relevance for part in parts),
    )
