"""What a search gives back: row numbers, distances, their terms, and the work done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class EnergyTerms:
    """The weighted contributions whose sum is the distance; each (q, k) float32."""

    lambda_: NDArray[np.float32]
    dispersion: NDArray[np.float32]
    dirichlet: NDArray[np.float32]


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
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.float32]
    terms: EnergyTerms
    work: SearchWork
