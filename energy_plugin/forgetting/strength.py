"""How strongly a memory still counts: its value, fading with age, with a floor and pins."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting.plan import as_ages


@dataclass(frozen=True)
class Strength:
    """Value × freshness: v · 2^(−age / half-life), never below a floor.

    Multiply it with the relevance of a hit, so that old or minor memories stand back and pinned
    ones stay. Nothing is deleted by it.

    Parameters
    ----------
    half_life_days : float, default 30
        Age at which half of the value is left.
    floor : float, default 0.05
        What remains of every memory, 0 to 1.

    Raises
    ------
    InvalidInputError
        A half-life that is not positive, or a floor outside [0, 1].
    """

    half_life_days: float = 30.0
    floor: float = 0.05

    def __post_init__(self) -> None:
        if not _number(self.half_life_days) or not 0 < self.half_life_days < np.inf:
            raise InvalidInputError(
                f"half_life_days is {self.half_life_days!r}, expected a positive number of days"
            )
        if not _number(self.floor) or not 0 <= self.floor <= 1:
            raise InvalidInputError(f"floor is {self.floor!r}, expected a number from 0 to 1")

    def of(
        self,
        ages_days: ArrayLike,
        values: ArrayLike | None = None,
        pinned: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Strength of each memory, 0 to 1.

        Parameters
        ----------
        ages_days : array_like of shape (n,)
            See `ages_in_days`. NaN and times to come count as fresh.
        values : array_like of shape (n,), optional
            0 to 1; NaN and what is not given count as 1.
        pinned : array_like of shape (n,), bool, optional
            These have strength 1, whatever their age and value.

        Raises
        ------
        InvalidInputError
            Shapes that do not fit, or a value outside [0, 1].
        """
        ages = np.nan_to_num(as_ages(ages_days), nan=0.0)
        given = np.ones(len(ages)) if values is None else np.asarray(values, dtype=np.float64)
        value = np.where(np.isnan(given), 1.0, given)
        pins = np.zeros(len(ages), bool) if pinned is None else np.asarray(pinned, dtype=bool)
        if value.shape != ages.shape or pins.shape != ages.shape:
            raise InvalidInputError(
                f"got {value.shape} values and {pins.shape} pins for {len(ages)} ages, expected "
                "one of each for every age"
            )
        if ((value < 0) | (value > 1)).any():
            raise InvalidInputError(
                f"values range from {value.min():g} to {value.max():g}, expected 0 to 1"
            )
        fresh = np.exp2(-np.maximum(ages, 0) / self.half_life_days)
        return np.where(pins, 1.0, np.maximum(self.floor, value * fresh))


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
