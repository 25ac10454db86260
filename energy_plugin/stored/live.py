"""A stored field in memory: index, row numbers, and what is not stored yet."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import ForeignFieldError
from energy_plugin.stored.changes import Changes
from energy_plugin.stored.comparing import by_ids
from energy_plugin.stored.rows import RowMap

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyIndex, SearchResult
    from energy_plugin.stored.database import Rows

logger = logging.getLogger(__name__)

H = TypeVar("H", bound="Rows")
P = TypeVar("P")


class LiveField(Generic[H, P]):
    """The field of one table or collection, loaded, over rows that are known by ids.

    Parameters
    ----------
    host : Rows
    index : EnergyIndex
    rows : RowMap
        Ids of the index's rows.
    pointer : object
        What the host knows the stored generation by that this came from.
    """

    def __init__(self, host: H, index: EnergyIndex, rows: RowMap, pointer: P) -> None:
        self.host = host
        self.index = index
        self.rows = rows
        self.pointer = pointer
        self.pending = Changes()
        self.unreadable: set[Any] = set()
        self.counted = -math.inf  # when the host's rows were counted last, by a monotonic clock

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Dimension of the collection's vectors."""
        return self.index.field.dim

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.int64] | None,
        n_probe: int | Literal["all"] | None = None,
    ) -> SearchResult | None:
        """Nearest rows by energy distance; None where no row is allowed."""
        if len(self) == 0 or (allowed is not None and len(allowed) == 0):
            return None
        return self.index.search(queries, k, rows=allowed, n_probe=n_probe)

    # -- rows

    def insert(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers of vectors that no id stands for yet; see `adopt`."""
        return self.index.add(vectors)

    def withdraw(self, rows: NDArray[np.int64]) -> None:
        """Take `insert` back."""
        self.index.remove(rows)

    def adopt(
        self, ids: Sequence[Any], rows: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        """Let ids stand for inserted rows, in place of the rows they had."""
        former = self.rows.rows(ids)
        if len(former):
            self.index.remove(former)
        self.rows.assign(ids, rows, fingerprint(vectors))

    def settle(self, ids: Sequence[Any]) -> None:
        """Note that the host and the stored columns of these rows agree again."""
        self.pending = self.pending.without(ids)
        self.unreadable.difference_update(ids)

    def discard(self, ids: Sequence[Any]) -> None:
        """Drop those of the ids that are known."""
        known = [name for name in dict.fromkeys(ids) if name in self.rows]
        if known:
            self.index.remove(self.rows.rows(known))
            self.rows.forget(known)

    def columns_of(self, rows: NDArray[np.int64]) -> EnergyColumns:
        """Columns of live row numbers, in their order."""
        return self.index.columns_of(rows)

    # -- λ

    def in_lambda(self, low: float, high: float) -> tuple[list[Any], NDArray[np.float32]]:
        """Ids of the rows whose λ lies in [low, high], and their λ."""
        numbers = self.index.rows
        lambdas = self.columns_of(numbers).lambda_
        inside = (lambdas >= low) & (lambdas <= high)
        return self.rows.names(numbers[inside].tolist()), lambdas[inside]

    def lambda_of(self, name: Any) -> float | None:
        """λ of a row, None where there is no such row."""
        if name not in self.rows:
            return None
        return float(self.columns_of(self.rows.numbers([name])).lambda_[0])

    # -- fidelity

    def bits(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Residual bits of row numbers."""
        from energy_plugin.energy.codec.codes import stored_bits

        return stored_bits(self.columns_of(numbers).residual, self.dim)

    def fidelity(self) -> dict[Any, int]:
        """Bits of the rows that have fewer than the field's configuration says, ``{id: bits}``."""
        numbers = self.index.rows
        bits = self.bits(numbers)
        low = np.flatnonzero(bits < self.index.field.config.bits)
        names = self.rows.names(numbers[low].tolist())
        return dict(zip(names, bits[low].tolist(), strict=True))

    def lower(self, bits: Mapping[Any, int]) -> None:
        """Drop bit planes of rows, ``{id: bits to keep}``; unknown ids are left out."""
        groups: dict[int, list[Any]] = defaultdict(list)
        for name, keep in bits.items():
            groups[keep].append(name)
        for keep, names in groups.items():
            self.index.lower(self.rows.rows(names), keep)

    # -- changes behind the plugin's back

    def catch_up(self) -> Changes:
        """Compare ids with the host and serve what is new from its own vector."""
        present = self.host.ids()
        self.unreadable.intersection_update(present)
        return self.apply(by_ids(self.rows, present))

    def apply(self, changes: Changes) -> Changes:
        """Bring the index in memory up to the host; nothing is stored.

        Returns
        -------
        Changes
            Without rows that are listed as new or changed and turn out to be gone.
        """
        fresh = [*changes.added, *changes.changed]
        self.discard(changes.removed)
        self.unreadable.difference_update(changes.removed)
        if fresh:
            readable, vectors = self.host.vectors(fresh)
            # a row that cannot be read any more must not be served from its old vector
            held = set(readable)
            lost = [name for name in fresh if name not in held]
            self.discard(lost)
            listed = set(self.host.ids(ids=lost))
            self.unreadable = (self.unreadable - held) | listed
            gone = [name for name in lost if name not in listed]
            if gone:
                was_known = tuple(name for name in changes.changed if name in set(gone))
                changes = changes.without(gone) | Changes(removed=was_known)
            if readable:
                if vectors.shape[1] != self.dim:
                    raise ForeignFieldError(
                        f"Rows of {self.host.name!r} have {vectors.shape[1]} "
                        f"dimensions, its energy field has {self.dim}. Call build() again."
                    )
                self.adopt(readable, self.insert(vectors), vectors)
        if changes:
            logger.info(
                "%d rows of %r differ from their stored energy columns and are served from their "
                "own vectors; refresh() stores them",
                len(changes),
                self.host.name,
            )
            self.pending = self.pending | changes
        return changes

    def follow(self, other: LiveField[H, P]) -> None:
        """Take over what another field of the same rows has seen of them since."""
        ids = other.rows.ids
        prints = other.rows.fingerprints(other.rows.numbers(ids))
        _, changed = self.rows.changed(ids, prints)
        if changed:
            self.apply(Changes(changed=tuple(changed)))
