"""Tell whether one ranking is better than another on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_TIE = 1e-9  # differences below this are rounding


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two rankings over the same queries.

    Attributes
    ----------
    win, tie, loss : int
        Queries on which the second ranking is better, equal, worse.
    difference : float
        Mean of second minus first.
    p_value : float
        Two-sided p-value of the paired randomisation test.
    wilcoxon : float
        Two-sided p-value of Wilcoxon's signed-rank test; 1 where nothing differs.
    """

    win: int
    tie: int
    loss: int
    difference: float
    p_value: float
    wilcoxon: float = 1.0


def compare(
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two rankings query by query with Fisher's paired randomisation test.

    Under the null hypothesis the sign of every query's difference is a coin flip; the
    p-value is the share of sign assignments whose mean is at least as far from zero, the
    observed one counted among them.

    Parameters
    ----------
    first, second : ndarray of shape (q,), float64
        One value a query.
    permutations : int
        Random sign assignments.
    seed : int
        Seed of the signs.
    """
    differences = second - first
    rng = np.random.default_rng(seed)
    observed = abs(float(differences.sum()))
    extreme = 1
    for start in range(0, permutations, 1000):
        count = min(1000, permutations - start)
        signs = rng.integers(0, 2, size=(count, len(differences))) * 2 - 1
        extreme += int(np.sum(np.abs(signs @ differences) >= observed - _TIE))
    return Comparison(
        win=int(np.sum(differences > _TIE)),
        tie=int(np.sum(np.abs(differences) <= _TIE)),
        loss=int(np.sum(differences < -_TIE)),
        difference=float(differences.mean()),
        p_value=extreme / (permutations + 1),
        wilcoxon=_wilcoxon(differences),
    )


def _wilcoxon(differences: npt.NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon

    moved = differences[np.abs(differences) > _TIE]
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values after Benjamini and Hochberg: the false discovery rate of many comparisons."""
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(list(p_values))] if p_values else []
