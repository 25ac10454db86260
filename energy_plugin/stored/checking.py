"""Looking for what is wrong with a stored field."""

from __future__ import annotations

from collections.abc import Iterator
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
from energy_plugin.stored.findings import KINDS, Finding

if TYPE_CHECKING:
    from energy_plugin.stored.keeper import Keeper, Taken

TOLERANCE = 1e-4  # of λ and G, which the same vector and field give again to 1e-6


def findings_of(keeper: Keeper) -> list[Finding]:
    """Everything that is wrong, the worst first; reads all, changes nothing."""
    try:
        taken = keeper.take(fresh=True)
    except NotBuiltError as error:
        return [Finding("missing", str(error), "build()")]
    except CorruptFieldError as error:
        return [Finding("corrupt", str(error), "repair(rebuild=True)")]
    except (ForeignFieldError, InvalidInputError) as error:
        remedy = "open it with the previous embedder, or repair(rebuild=True)"
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
