"""What is wrong with a stored field, and what mends it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)

if TYPE_CHECKING:
    from energy_plugin.stored.keeper import Keeper, Taken

KINDS = ("missing", "corrupt", "foreign", "history", "altered", "pending", "leftover")
UNUSABLE = frozenset({"missing", "corrupt", "foreign"})  # only a new field mends these
TOLERANCE = 1e-4  # of λ and G, which the same vector and field give again to 1e-6


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind : str
        One of `KINDS`, the worst first: no field; bytes or types that cannot be read; a field of
        other vectors or another embedder; a field that stands only in an older version of its
        table; values of rows that differ from those that were written; rows that wait for
        `refresh`; what a write that was cut short has left.
    message : str
        What is wrong.
    remedy : str
        The call that mends it.
    ids : tuple of hashable
        Rows or records that are concerned.
    """

    kind: str
    message: str
    remedy: str
    ids: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class RepairReport:
    """What `repair` did.

    Parameters
    ----------
    found : tuple of Finding
        What was wrong before.
    remaining : tuple of Finding
        What still is.
    """

    found: tuple[Finding, ...] = ()
    remaining: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return not self.remaining


def findings_of(keeper: Keeper) -> list[Finding]:
    """Everything that is wrong, the worst first; reads all, changes nothing."""
    try:
        taken = keeper.take(fresh=True)
    except NotBuiltError as error:
        return [Finding("missing", str(error), "build()")]
    except CorruptFieldError as error:
        return [Finding("corrupt", str(error), "repair(rebuild=True)")]
    except (ForeignFieldError, InvalidInputError) as error:
        remedy = "open it with the former embedder, or repair(rebuild=True)"
        return [Finding("foreign", str(error), remedy)]
    found = [*_altered(taken), *_pending(taken), *keeper.findings(taken)]
    return sorted(found, key=lambda finding: KINDS.index(finding.kind))


def _altered(taken: Taken) -> Iterator[Finding]:
    wrong = wrong_rows(taken)
    if len(wrong):
        message = f"{len(wrong)} rows have columns that are altered or of another vector or field."
        yield Finding("altered", message, "repair()", tuple(taken.names(wrong)))


def wrong_rows(taken: Taken) -> NDArray[np.int64]:
    """Row numbers whose fingerprint is not their vector's, or whose λ or G is another."""
    if taken.vectors is None or len(taken.vectors) == 0:
        return np.empty(0, dtype=np.int64)
    columns = taken.index.columns
    lambda_, dispersion = taken.index.field.taumode(taken.vectors)
    off = np.abs(columns.lambda_ - lambda_) > TOLERANCE
    off |= np.abs(columns.dispersion - dispersion) > TOLERANCE
    off |= taken.fingerprints != fingerprint(taken.vectors)
    return np.flatnonzero(off)


def _pending(taken: Taken) -> Iterator[Finding]:
    pending = taken.pending
    for ids, what in (
        (pending.added, "have no energy columns"),
        (pending.removed, "have energy columns and are gone, or have lost their vector"),
        (pending.changed, "have energy columns of another vector or field, or altered ones"),
    ):
        if ids:
            yield Finding("pending", f"{len(ids)} rows {what}.", "refresh()", ids)
