"""Lexical scores of queries, checked and in the store's positions.

========== ===================================================================
L          lexical scores of a query, at least 0; 0 where no word matches
B          (L − L_H)/(L_1 − L_H), scaled by the query's own `SCALE` best
E          similarities in the metric, scaled likewise
a          agreement of a collection: how near the words' first ten stand to a query, mean E over
           that of the vectors' own first ten, cut to 0..1. Where no query is known, rows are
           the queries: a = 1.9·a_rows − .43 on judged collections, cut to 0..1
β          share of the words, floor + slope·(1 − a); `AGREEMENT` for a where nothing is known
========== ===================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from energy_plugin.energy.blocks import EPS
from energy_plugin.energy.config import EnergyConfig
from energy_plugin.energy.search.rows import RowStore
from energy_plugin.errors import InvalidInputError

SCALE = 300  # H; 100 to 500 rank alike
AGREEMENT = 0.45  # between what judged collections have, .2 to .74


NEAR = 100  # rows that set the scale of E in the agreement
TEN = 10
FROM_ROWS = (1.9, -0.43)
SAMPLED = 4096  # rows that the sample's are compared with, at most


class RowScores(Protocol):
    """What scores rows by the words of other rows, by number."""

    def scores_of(self, rows: Any, k: int = ...) -> Any:
        """Scores of the k best rows for each of some rows, sparse (q, next_row)."""


@dataclass(frozen=True)
class Words:
    """Lexical scores of some queries, as ragged lists, and the share that they get."""

    starts: NDArray[np.int64]  # (q + 1,)
    positions: NDArray[np.int64]  # of rows that may be found, ascending within a query
    scores: NDArray[np.float32]  # positive
    share: float  # β

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, queries: NDArray[np.int64]) -> Words:
        """Those of some queries, by place."""
        lengths = np.diff(self.starts)[queries]
        ends = np.cumsum(lengths)
        first = np.repeat(self.starts[queries] - (ends - lengths), lengths)
        where = first + np.arange(int(lengths.sum()))
        return Words(
            np.concatenate([[0], ends]), self.positions[where], self.scores[where], self.share
        )

    def of(self, query: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions and scores of one query."""
        part = slice(self.starts[query], self.starts[query + 1])
        return self.positions[part], self.scores[part]

    @property
    def some(self) -> NDArray[np.bool_]:
        """Queries that any row matches; (q,)."""
        return np.diff(self.starts) > 0


def as_weight(weight: Any) -> float | None:
    """Check the share of the words.

    Raises
    ------
    InvalidInputError
        Not a number from 0 to 1.
    """
    if weight is None:
        return None
    number = isinstance(weight, (int, float, np.integer, np.floating))
    if isinstance(weight, bool) or not number or not 0 <= weight <= 1:
        raise InvalidInputError(
            f"lexical_weight must be a number from 0 (vectors alone) to 1 (words alone), got "
            f"{weight!r}."
        )
    return float(weight)


def default_share(config: EnergyConfig, agreement: float = AGREEMENT) -> float:
    """β of a collection with some agreement of words and vectors."""
    return config.lexical_floor + config.lexical_slope * (1 - agreement)


def learned_share(store: RowStore, lexical: RowScores, sample: int, seed: int) -> float:
    """β from the agreement of words and vectors over a sample of rows; see `default_share`.

    Raises
    ------
    InvalidInputError
        See `as_lexical`.
    """
    config = store.projection.field.config
    live = np.flatnonzero(store.alive & (store.columns.cell >= 0))
    if len(live) <= 2 * TEN:
        return default_share(config)
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.choice(live, min(sample, len(live)), replace=False))
    scores = lexical.scores_of(store.numbers[asked], TEN + 1)
    words = words_of(store, scores, len(asked), None, live)
    others = live
    if len(live) > SAMPLED:  # and every row that the words find
        some = rng.choice(live, SAMPLED, replace=False)
        others = np.union1d(some, words.positions)
    queries, rows = store.decode(asked), store.decode(others)
    found = []
    for i, row in enumerate(asked):
        similarity = (rows @ queries[i]).numpy(force=True)
        near, known = words.of(i)
        best = near[np.argsort(-known, kind="stable")]
        best = best[best != row][:TEN]
        if len(best) == 0:
            continue
        ranked = -np.sort(-similarity[others != row])
        low = ranked[min(NEAR, len(ranked)) - 1]
        own = float(ranked[:TEN].mean() - low)
        if own > EPS:
            mean = float(similarity[others.searchsorted(best)].mean() - low)
            found.append(min(1.0, max(0.0, mean / own)))
    if not found:
        return default_share(config)
    slope, shift = FROM_ROWS
    return default_share(config, min(1.0, max(0.0, slope * float(np.mean(found)) + shift)))


def as_lexical(
    lexical: Any, queries: int, width: int, *, name: str = "lexical"
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Check lexical scores; a sparse matrix or an array of shape (queries, width).

    Returns
    -------
    indptr, indices, data
        In CSR form; positive scores alone, columns ascending within a query.

    Raises
    ------
    InvalidInputError
        Another shape or type, negative scores, NaN or infinity.
    """
    from scipy.sparse import csr_array, issparse

    try:
        matrix = csr_array(lexical if issparse(lexical) else np.atleast_2d(lexical), copy=True)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} cannot be read as scores ({error}). Pass a scipy sparse matrix of shape "
            f"({queries}, {width}), one score for each query and row."
        ) from error
    if matrix.dtype.kind not in "fiub":
        raise InvalidInputError(
            f"{name} must be real numbers, got dtype {matrix.dtype}. Pass scores as float32."
        )
    if matrix.shape != (queries, width):
        raise InvalidInputError(
            f"{name} has shape {matrix.shape}, expected ({queries}, {width}): one line per "
            "query, one column per row number ever given (index.next_row). Score the same "
            "queries over the same rows."
        )
    matrix.sum_duplicates()
    with np.errstate(over="ignore"):
        data = matrix.data.astype(np.float32)
    if not np.isfinite(data).all() or (data < 0).any():
        bad = int((~np.isfinite(data) | (data < 0)).sum())
        raise InvalidInputError(
            f"{name} holds {bad} scores that are negative, NaN or infinite; expected at least 0, "
            "where 0 means that no word matches. Shift or drop them."
        )
    keep = data > 0
    kept = np.concatenate([[0], np.cumsum(keep)])
    return kept[matrix.indptr].astype(np.int64), matrix.indices[keep].astype(np.int64), data[keep]


def words_of(
    store: RowStore,
    lexical: Any,
    queries: int,
    weight: float | None,
    allowed: NDArray[np.int64] | None,
) -> Words:
    """Scores by row number → by position, of rows that may be found.

    `allowed` are positions, ascending; None: all live rows.

    Raises
    ------
    InvalidInputError
        See `as_lexical`.
    """
    indptr, numbers, scores = as_lexical(lexical, queries, store.next_number)
    found = store.numbers.searchsorted(numbers).clip(max=max(0, len(store) - 1))
    may = store.alive
    if allowed is not None:
        may = np.zeros(len(store), dtype=bool)
        may[allowed] = True
    keep = (store.numbers[found] == numbers) & may[found]
    kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    share = default_share(store.projection.field.config) if weight is None else weight
    return Words(kept[indptr], found[keep], scores[keep], share)


def scaled(
    values: torch.Tensor, count: int, least: float | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values (b, c) between each line's `count`-th best and its best: 0 to 1, and lower below.

    Parameters
    ----------
    values : tensor of shape (b, c)
        −inf where there is no row.
    count : int
    least : float, optional
        What rows that are not in the line would have.

    Returns
    -------
    scaled : tensor of shape (b, c)
        Zeros where all values are equal.
    low, span : tensor of shape (b, 1)
        values = low + span·scaled; span is 0 where all are equal.
    """
    best = values
    if count < values.shape[1]:
        best = values.topk(count, dim=1, sorted=False).values
    finite = best.isfinite()
    low = torch.where(finite, best, torch.inf).amin(1, keepdim=True)
    if least is not None:
        short = finite.sum(1, keepdim=True) < count
        low = torch.where(short, low.clamp_max(least), low)
    high = best.amax(1, keepdim=True)
    span = high - low
    some = span > 1e-6  # not if all are equal, or there is no row at all
    low, span = torch.where(some, low, 0.0), torch.where(some, span, 0.0)
    out = (values - low) / torch.where(some, span, 1.0)
    finite = finite if best is values else values.isfinite()
    out = torch.where(some | ~finite, out, 0.0)
    return out, low, span
