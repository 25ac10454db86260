"""The schedule: from the age of a row to the fidelity that it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import InvalidInputError
from energy_plugin.forgetting.plan import ForgettingPlan, as_ages
from energy_plugin.forgetting.step import Step
from energy_plugin.optical.modes import PAGE_MODES

FORMAT_VERSION = 1


DEFAULT_STEPS = (
    Step(0, "large", 8),
    Step(30, "base", 4),
    Step(90, "small", 2),
    Step(365, "tiny", 1),
)


@dataclass(frozen=True)
class Schedule:
    """Steps by age; no step has a higher fidelity than the one before.

    The first step starts at age 0 and applies to recent rows, which a plan never changes.

    Attributes
    ----------
    steps : tuple of Step
        Default: Large and 8 bits for 30 days, Base and 4 to 90, Small and 2 to 365 days,
        then Tiny and 1.

    Raises
    ------
    InvalidInputError
        There is no step, a mode or number of bits is unknown, ages do not rise from 0, or fidelity
        rises.
    """

    steps: tuple[Step, ...] = DEFAULT_STEPS

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        if not self.steps or not all(isinstance(step, Step) for step in self.steps):
            raise InvalidInputError(f"steps is {self.steps!r}, expected one or more Step")
        for step in self.steps:
            if step.mode not in PAGE_MODES or step.bits not in BIT_CHOICES:
                raise InvalidInputError(
                    f"{step}: expected a mode of {PAGE_MODES} and bits of {BIT_CHOICES}"
                )
            number = isinstance(step.age_days, Real) and not isinstance(step.age_days, bool)
            if not number or not abs(step.age_days) < math.inf:
                raise InvalidInputError(f"{step}: age_days must be a finite number")
        if self.steps[0].age_days != 0:
            raise InvalidInputError(
                f"the first step starts at {self.steps[0].age_days} days, expected 0: "
                "it is the fidelity of recent rows"
            )
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if after.age_days <= before.age_days:
                raise InvalidInputError(f"ages must rise, got {before} before {after}")
            if after.bits > before.bits or after.tokens > before.tokens:
                raise InvalidInputError(
                    f"fidelity must not rise with age, got {before} before {after}"
                )

    @classmethod
    def of(cls, days: Sequence[float]) -> Schedule:
        """The default fidelities at other ages: three rising numbers of days."""
        if len(days) != len(DEFAULT_STEPS) - 1:
            raise InvalidInputError(
                f"days has {len(days)} ages, expected {len(DEFAULT_STEPS) - 1}: "
                "for Base, Small and Tiny"
            )
        ages = (0.0, *map(float, days))
        pairs = zip(ages, DEFAULT_STEPS, strict=True)
        return cls(tuple(Step(age, step.mode, step.bits) for age, step in pairs))

    def step_of(self, ages_days: ArrayLike) -> NDArray[np.int64]:
        """Number of the step of each age; 0 for recent rows, the future and NaN."""
        ages = np.asarray(ages_days, dtype=np.float64)
        bounds = np.array([step.age_days for step in self.steps])
        found = np.searchsorted(bounds, np.where(np.isnan(ages), 0.0, ages), side="right") - 1
        return np.maximum(found, 0).astype(np.int64)

    def plan(
        self,
        ages_days: ArrayLike,
        bits_now: ArrayLike,
        dim: int,
        *,
        modes_now: Sequence[str] | None = None,
    ) -> ForgettingPlan:
        """Plan the changes for rows of these ages. The same arguments give the same plan.

        Parameters
        ----------
        ages_days : array_like of shape (n,)
            NaN for rows without an age; they do not change.
        bits_now : array_like of shape (n,) or int
            Residual bits per dimension of each row; 0 for a row without a residual.
        dim : int
            Dimensions of the residual.
        modes_now : sequence of n str, optional
            Page modes in which the rows were read, if known; needed to list the rows that should
            be read again in a smaller mode.

        Raises
        ------
        InvalidInputError
            Shapes that do not fit, or an unknown number of bits or mode.
        """
        ages = as_ages(ages_days)
        return ForgettingPlan.of(self.steps, self.step_of(ages), bits_now, dim, modes_now=modes_now)

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives, with the format version."""
        return {"format_version": FORMAT_VERSION, "steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schedule:
        """Read what `to_dict` wrote.

        Raises
        ------
        InvalidInputError
            Another format version, or other fields.
        """
        version = data.get("format_version") if isinstance(data, Mapping) else None
        if version != FORMAT_VERSION:
            raise InvalidInputError(
                f"a schedule of format version {version!r}; this release reads {FORMAT_VERSION}. "
                "If it is newer, upgrade energy-plugin; otherwise write it again with to_dict()"
            )
        steps = data.get("steps")
        known = {field.name for field in fields(Step)}
        if not isinstance(steps, Iterable) or not all(
            isinstance(step, Mapping) and set(step) == known for step in steps
        ):
            raise InvalidInputError(
                f"a schedule is {data!r}, expected steps with {sorted(known)}, as from to_dict()"
            )
        return cls(tuple(Step(**step) for step in steps))
