"""What a host brings: how a field and its columns stand in its database."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_plugin.stored.changes import Changes

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField, EnergyIndex
    from energy_plugin.stored.findings import Finding
    from energy_plugin.stored.info import FieldInfo


@dataclass(frozen=True, eq=False)
class Taken:
    """The live rows of a stored field, apart from what other threads go on with.

    Parameters
    ----------
    index : EnergyIndex
        Numbered 0…n−1; rows that wait for `refresh` are in it by their own vectors.
    vectors : ndarray of shape (n, d), float32, optional
        None where not all could be read.
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors that the stored columns were made of.
    pending : Changes
        Rows whose stored columns are behind the host.
    names : callable
        From row numbers to what the host calls these rows.
    origin : object
        The keeper's own: where this was taken from.
    """

    index: EnergyIndex
    vectors: NDArray[np.float32] | None
    fingerprints: NDArray[np.uint32]
    pending: Changes
    names: Callable[[NDArray[np.int64]], Sequence[Hashable]]
    origin: Any


class Keeper(Protocol):
    """The stored field of one table or collection; every call but the lock's comes under it."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """What keeps the threads of one object apart; may be taken twice."""

    def field(self) -> EnergyField:
        """The stored field.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            There is none, it belongs to other vectors, or its bytes are damaged.
        """

    def take(self, *, fresh: bool = False) -> Taken:
        """Rows, vectors and what is pending, of one state of the host; errors as of `field`.

        Parameters
        ----------
        fresh : bool, default False
            Read what is stored again, whatever is in memory.
        """

    def writable(self) -> None:
        """Refuse, where what is open can only be read.

        Raises
        ------
        InvalidInputError
        """

    def others_go_on(self) -> AbstractContextManager[None]:
        """Let other threads read and write while this one computes."""

    def publish(self, taken: Taken, index: EnergyIndex, *, show_progress_bar: bool = False) -> None:
        """Store the taken rows with another index of them, as a new generation."""

    def refit_within(
        self, config: EnergyConfig | None, memory_limit: int, *, show_progress_bar: bool
    ) -> None:
        """Refit and publish without holding all vectors; rows keep their fidelity."""

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """Store the columns of rows that are behind the host."""

    def times(self, taken: Taken, key: str) -> Sequence[Any]:
        """What each taken row has under a key or column, None where nothing.

        Raises
        ------
        InvalidInputError
            No row has it.
        """

    def in_lambda(
        self, low: float, high: float
    ) -> tuple[Sequence[Hashable], Sequence[float] | NDArray[np.float32]]:
        """Rows whose stored λ lies in [low, high], and their λ; errors as of `field`."""

    def lambda_of(self, row: Any) -> float | None:
        """λ of one row, None where the field does not have it; errors as of `field`."""

    def findings(self, taken: Taken) -> Iterable[Finding]:
        """What is wrong that only this host can see: history, altered values, leftovers."""

    def mend(self, findings: Sequence[Finding]) -> None:
        """Mend those of its own `findings`."""

    def rebuild(self, *, show_progress_bar: bool = False) -> None:
        """Build a new field in place of one that cannot be used, with what settings are left."""

    def info(self) -> FieldInfo:
        """Describe what is stored; errors as of `field`."""

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """Remove field and columns."""
