"""What happens to texts that need more than one page."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from energy_plugin.errors import InvalidInputError

POOL = "pool"
POLICIES = (POOL, "warn", "raise")


def as_overflow(policy: str) -> str:
    """Check a policy.

    Raises
    ------
    InvalidInputError
        There is none of that name.
    """
    if policy not in POLICIES:
        raise InvalidInputError(f"on_overflow is {policy!r}, expected one of {list(POLICIES)}")
    return policy


def check_overflow(pages: Sequence[int], policy: str) -> None:
    """Apply a policy to the number of pages of each text; nothing is ever cut.

    Raises
    ------
    InvalidInputError
        `policy` is "raise" and a text needs more than one page.
    """
    if policy == POOL:
        return
    over = [place for place, count in enumerate(pages) if count > 1]
    if not over:
        return
    message = (
        f"texts[{over[0]}] needs {pages[over[0]]} pages"
        + (f", as do {len(over) - 1} others more than one" if len(over) > 1 else "")
        + "; choose a larger mode, split it, or pass on_overflow='pool' to pool all its pages"
    )
    if policy == "raise":
        raise InvalidInputError(message)
    warnings.warn(message, stacklevel=4)
