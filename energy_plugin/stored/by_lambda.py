"""Rows by their λ: a window over the host's sorted values, widened until it holds enough."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from energy_plugin.stored.keeper import Keeper

_FIRST = 2.0**-10  # half width of the first window; λ lies between 0 and 1


@dataclass(frozen=True, eq=False)
class LambdaHits:
    """Rows near one λ.

    Parameters
    ----------
    ids : list of length k
        Ids of the rows, or row ids of a LanceDB table; nearest in λ first.
    lambdas : ndarray of shape (k,), float32
        λ of each.
    gaps : ndarray of shape (k,), float32
        Distance to the λ that was asked for, ascending; equal gaps by id.
    """

    ids: list[Hashable]
    lambdas: NDArray[np.float32]
    gaps: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


def search(keeper: Keeper, value_or_row: Any, k: int) -> LambdaHits:
    """The k rows nearest in λ; see `FieldVerbs.search_lambda`."""
    k = as_k(k)
    value, but = _asked(keeper, value_or_row)
    wanted = k + (but is not None)
    width = _FIRST
    while True:
        whole = value - width <= 0 and value + width >= 1
        low, high = (-1.0, 2.0) if whole else (value - width, value + width)
        ids, lambdas = keeper.in_lambda(low, high)
        if whole or len(ids) >= wanted:
            break
        width *= 4
    kept = np.array([name != but for name in ids], dtype=bool) if but is not None else slice(None)
    names = np.array(ids, dtype=object)[kept]
    found = np.asarray(lambdas, dtype=np.float32)[kept]
    gaps = np.abs(found.astype(np.float64) - value)
    order = sorted(range(len(names)), key=lambda place: (gaps[place], names[place]))[:k]
    return LambdaHits(names[order].tolist(), found[order], gaps[order].astype(np.float32))


def _asked(keeper: Keeper, given: Any) -> tuple[float, Hashable | None]:
    """The λ to search near, and the row to leave out."""
    if isinstance(given, float | np.floating):
        if not np.isfinite(given):
            raise InvalidInputError(f"value_or_row is {given!r}, expected a finite λ or a row")
        return float(given), None
    named = isinstance(given, str | int | np.integer) and not isinstance(given, bool)
    row = int(given) if isinstance(given, np.integer) else given
    found = keeper.lambda_of(row) if named else None
    if found is None:
        raise InvalidInputError(
            f"value_or_row is {given!r}, expected a λ as a float, or the id of a row that is in "
            "the field"
        )
    return found, row
