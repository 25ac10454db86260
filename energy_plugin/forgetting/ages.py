"""Timestamps of any of the hosts' types to ages in days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, time, timezone
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

DAY_SECONDS = 86_400.0
# Epoch numbers above these are milliseconds, microseconds, nanoseconds: as seconds they
# would lie beyond the year 5138, as milliseconds beyond the same, and so on.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def ages_in_days(timestamps: Sequence[Any] | NDArray[Any], now: Any) -> NDArray[np.float64]:
    """Ages of rows at a point in time.

    Parameters
    ----------
    timestamps : sequence of length n
        Each a datetime or date, a numpy datetime64, an ISO 8601 string, or a number since 1970:
        seconds, or milli-, micro- or nanoseconds, told apart by their size. Times without a time
        zone are UTC. None and NaN: the row has no age.
    now : like one of them, not None

    Returns
    -------
    ndarray of shape (n,), float64
        Days; negative for times after `now`, NaN for rows without an age.

    Raises
    ------
    InvalidInputError
        A value is none of these; its position is named.
    """
    moment = _seconds(now, "now")
    if math.isnan(moment):
        raise InvalidInputError(f"now is {now!r}, expected a point in time")
    if isinstance(timestamps, str | bytes) or not hasattr(timestamps, "__len__"):
        raise InvalidInputError(
            f"timestamps is {type(timestamps).__name__}, expected a sequence with one per row"
        )
    if isinstance(timestamps, np.ndarray) and timestamps.dtype.kind == "M":
        nanos = timestamps.astype("datetime64[ns]").astype(np.int64)
        seconds = np.where(np.isnat(timestamps), np.nan, nanos / 1e9)
    else:
        seconds = np.array(
            [_seconds(value, f"timestamps[{i}]") for i, value in enumerate(timestamps)],
            dtype=np.float64,
        )
    return (moment - seconds) / DAY_SECONDS


def _seconds(value: Any, name: str) -> float:
    """Seconds since 1970, NaN for none."""
    if value is None:
        return math.nan
    if isinstance(value, np.datetime64):
        missing = bool(np.isnat(value))
        return math.nan if missing else int(value.astype("datetime64[ns]").astype(np.int64)) / 1e9
    if isinstance(value, str):
        text = value.strip()
        try:  # Python 3.10 reads no Z
            value = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        except ValueError as error:
            raise InvalidInputError(
                f"{name} is {value!r}, which is not an ISO 8601 time; "
                "expected a datetime, a number of seconds since 1970 or such a string"
            ) from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        if str(value) == "NaT":  # of pandas, which calls it a datetime
            return math.nan
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.timestamp()
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if math.isinf(number):
            raise InvalidInputError(f"{name} is {number}, expected a finite time")
        return next((number / unit for above, unit in _UNITS if abs(number) >= above), number)
    raise InvalidInputError(
        f"{name} is {type(value).__name__}, expected a datetime, a number of seconds since 1970 "
        "or an ISO 8601 string"
    )
