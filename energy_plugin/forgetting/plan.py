"""The plan: which rows keep how much, and the bytes that saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting.step import Step
from energy_plugin.optical.modes import as_mode
from energy_plugin.validation import as_k


def as_ages(ages_days: ArrayLike) -> NDArray[np.float64]:
    """Ages in days as float64 of shape (n,).

    Raises
    ------
    InvalidInputError
        Not numbers, or not one age per row.
    """
    try:
        ages = np.asarray(ages_days, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"ages_days cannot be read as numbers ({error}); ages_in_days makes them"
        ) from error
    if ages.ndim != 1:
        raise InvalidInputError(f"ages_days has shape {ages.shape}, expected (n,)")
    return ages


@dataclass(frozen=True, eq=False)
class ForgettingPlan:
    """The result of `Schedule.plan`; a plan changes nothing.

    Attributes
    ----------
    schedule_steps : tuple of Step
        Steps of the schedule, by age.
    dim : int
    steps : ndarray of shape (n,), int64
        Number of each row's step in `schedule_steps`.
    bits_now, bits : ndarray of shape (n,), uint8
        Residual bits before and after; never more after than before.
    re_read : ndarray of int64
        Rows, ascending, whose page mode is larger than their step's. Empty if the modes of the
        rows are not known.
    """

    schedule_steps: tuple[Step, ...]
    dim: int
    steps: NDArray[np.int64]
    bits_now: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    re_read: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        schedule_steps: tuple[Step, ...],
        steps: NDArray[np.int64],
        bits_now: ArrayLike,
        dim: int,
        *,
        modes_now: Sequence[str] | None = None,
    ) -> ForgettingPlan:
        """See `Schedule.plan`; `steps` is the number of each row's step."""
        dim = as_k(dim, name="dim")
        given = np.asarray(bits_now)
        if given.ndim == 0:
            given = np.broadcast_to(given, steps.shape)
        if given.shape != steps.shape or not np.isin(given, (0, *BIT_CHOICES)).all():
            raise InvalidInputError(
                f"bits_now has shape {given.shape} and values {np.unique(given)[:9].tolist()}, "
                f"expected one of {(0, *BIT_CHOICES)} for each of {len(steps)} rows"
            )
        now = given.astype(np.uint8)
        wanted = np.array([step.bits for step in schedule_steps], dtype=np.uint8)[steps]
        bits = np.where(steps > 0, np.minimum(now, wanted), now)
        re_read = np.empty(0, dtype=np.int64)
        if modes_now is not None:
            if len(modes_now) != len(steps):
                raise InvalidInputError(
                    f"modes_now has {len(modes_now)} modes for {len(steps)} rows"
                )
            count = {name: as_mode(name).tokens() for name in set(modes_now)}
            tokens = np.array([count[name] for name in modes_now], dtype=np.int64)
            target = np.array([step.tokens for step in schedule_steps])[steps]
            re_read = np.flatnonzero((steps > 0) & (target < tokens))
        return cls(schedule_steps, dim, steps, now, bits, re_read)

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def modes(self) -> list[str]:
        """Page mode of each row's step."""
        return [self.schedule_steps[step].mode for step in self.steps.tolist()]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows that lose planes, ascending."""
        return np.flatnonzero(self.bits < self.bits_now)

    @property
    def by_bits(self) -> dict[int, NDArray[np.int64]]:
        """Rows that lose planes, grouped by the bits that they keep, for `EnergyIndex.lower`."""
        rows = self.rows
        return {int(bits): rows[self.bits[rows] == bits] for bits in np.unique(self.bits[rows])}

    @property
    def bytes_now(self) -> int:
        """Bytes of all residual codes before."""
        return self._bytes(self.bits_now)

    @property
    def bytes_after(self) -> int:
        """Bytes of all residual codes after."""
        return self._bytes(self.bits)

    @property
    def bytes_saved(self) -> int:
        """Bytes of the removed bit planes."""
        return self.bytes_now - self.bytes_after

    def _bytes(self, bits: NDArray[np.uint8]) -> int:
        kinds, counts = np.unique(bits[bits > 0], return_counts=True)
        pairs = zip(kinds.tolist(), counts.tolist(), strict=True)
        return sum(code_bytes(self.dim, kind) * count for kind, count in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Counts and bytes in JSON primitives, step by step."""
        lower = self.bits < self.bits_now
        steps = []
        for number, step in enumerate(self.schedule_steps):
            inside = self.steps == number
            steps.append(
                {
                    "age_days": step.age_days,
                    "mode": step.mode,
                    "tokens": step.tokens,
                    "bits": step.bits,
                    "rows": int(inside.sum()),
                    "rows_changed": int((inside & lower).sum()),
                    "bytes_saved": self._bytes(self.bits_now[inside])
                    - self._bytes(self.bits[inside]),
                }
            )
        return {
            "rows": len(self),
            "rows_changed": int(lower.sum()),
            "rows_to_read_again": len(self.re_read),
            "bytes_now": self.bytes_now,
            "bytes_after": self.bytes_after,
            "bytes_saved": self.bytes_saved,
            "steps": steps,
        }
