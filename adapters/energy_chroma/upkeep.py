"""Change that goes through the whole field: cells, and the fidelity of old rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_chroma.live import LiveField
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import Maintenance
    from energy_plugin.forgetting import ForgettingPlan, Schedule


def maintain(field: LiveField) -> tuple[Maintenance, list[str]]:
    """Merge and split cells in memory.

    Returns
    -------
    report : Maintenance
    moved : list of str
        Rows whose λ, G or cell is another one now.
    """
    numbers = field.index.rows
    names = field.rows.names(numbers.tolist())
    before = field.columns_of(numbers)
    readable, vectors = field.host.vectors(names)
    # rows that cannot be read would have no vector: then the codes have to do for all
    report = field.index.maintain(vectors if len(readable) == len(names) else None)
    after = field.columns_of(numbers)
    same = (
        (before.cell == after.cell)
        & (before.lambda_ == after.lambda_)
        & (before.dispersion == after.dispersion)
    )
    return report, [names[row] for row in np.flatnonzero(~same)]


def fidelity(field: LiveField) -> dict[str, int]:
    """Bits of the rows that have fewer than the field's configuration says, ``{id: bits}``."""
    numbers = field.index.rows
    bits = _bits(field, numbers)
    low = np.flatnonzero(bits < field.index.field.config.bits)
    names = field.rows.names(numbers[low].tolist())
    return dict(zip(names, bits[low].tolist(), strict=True))


def lower(field: LiveField, bits: Mapping[str, int]) -> None:
    """Drop bit planes of rows, ``{id: bits to keep}``, in memory; unknown ids are left out."""
    groups: dict[int, list[str]] = defaultdict(list)
    for name, keep in bits.items():
        groups[keep].append(name)
    for keep, names in groups.items():
        field.index.lower(field.rows.rows(names), keep)


def plan(
    field: LiveField, now: Any, *, key: str, schedule: Schedule | None
) -> tuple[ForgettingPlan, list[str]]:
    """What a schedule says about the rows, and their ids in the plan's order.

    Raises
    ------
    InvalidInputError
        No row has the key, or a value is no time.
    """
    from energy_plugin.forgetting import Schedule, ages_in_days

    if schedule is not None and not isinstance(schedule, Schedule):
        raise InvalidInputError(
            f"schedule must be a Schedule, got {type(schedule).__name__}. Leave it out for the "
            "default one."
        )
    times = field.host.values(key)
    numbers = field.index.rows
    names = field.rows.names(numbers.tolist())
    given = [times.get(name) for name in names]
    if names and all(value is None for value in given):
        raise InvalidInputError(
            f"No row of {field.host.collection.name!r} has the metadata key {key!r}, which should "
            "hold its time. Name the right key."
        )
    bits = _bits(field, numbers)
    ages = ages_in_days(given, now)
    return (schedule or Schedule()).plan(ages, bits, field.dim), names


def _bits(field: LiveField, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    from energy_plugin.energy.codec.codes import stored_bits

    return stored_bits(field.columns_of(numbers).residual, field.dim)
