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
ROUNDING = 2e-7  # of a sum, as a share of the length of a vector
TIE_TRIALS = 24
TIED_SHARE, LEAST_TIES = 0.01, 100  # more rows than these are no ties


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
    foreign = taken.fingerprints != fingerprint(taken.vectors)
    off = np.flatnonzero(~foreign & _differ(taken, np.arange(len(foreign)), taken.vectors))
    if len(off) <= max(LEAST_TIES, TIED_SHARE * len(foreign)):
        off = _without_ties(taken, off, taken.vectors[off])
    return np.union1d(np.flatnonzero(foreign), off)


def _differ(
    taken: Taken, rows: NDArray[np.int64], vectors: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether the stored λ or G of rows is another than that of these vectors."""
    columns, (lambda_, dispersion) = taken.index.columns, taken.index.field.taumode(vectors)
    off = np.abs(columns.lambda_[rows] - lambda_) > TOLERANCE
    return off | (np.abs(columns.dispersion[rows] - dispersion) > TOLERANCE)


def _without_ties(
    taken: Taken, rows: NDArray[np.int64], vectors: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Leave out rows that rounding alone moves to other anchors, and λ and G with them.

    Sums in another order decide between anchors that are equally near. Such a row has its stored
    values again when its vector is moved by as much as rounding moves a sum.
    """
    rng = np.random.default_rng(0)
    for _ in range(TIE_TRIALS):
        if len(rows) == 0:
            break
        noise = rng.uniform(-ROUNDING, ROUNDING, vectors.shape).astype(np.float32)
        size = np.linalg.norm(vectors, axis=1, keepdims=True)
        left = _differ(taken, rows, vectors + noise * size)
        rows, vectors = rows[left], vectors[left]
    return rows


def _pending(taken: Taken) -> Iterator[Finding]:
    pending = taken.pending
    for ids, what in (
        (pending.added, "have no energy columns"),
        (pending.removed, "have energy columns and are gone, or have lost their vector"),
        (pending.changed, "have energy columns of another vector or field, or altered ones"),
    ):
        if ids:
            yield Finding("pending", f"{len(ids)} rows {what}.", "refresh()", ids)
