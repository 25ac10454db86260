"""What a database must do for an energy field to live in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns


class Rows(Protocol):
    """Rows of one table or collection, known by hashable ids; read where they stand."""

    @property
    def name(self) -> str:
        """Of the table or collection, for messages."""

    def count(self) -> int:
        """Rows with a vector."""

    def ids(self, *, ids: Sequence[Any] | None = None) -> list[Any]:
        """Ids of all rows with a vector, or of those among `ids`."""

    def vectors(self, ids: Sequence[Any]) -> tuple[list[Any], NDArray[np.float32]]:
        """Those of the ids that are there, in their order, and their vectors, (m, d)."""

    def pages(self, rows: int = ...) -> Iterator[tuple[list[Any], NDArray[np.float32]]]:
        """All rows, a page of ids and (m, d) vectors at a time, always in the same order."""


@dataclass(frozen=True, eq=False)
class Generation:
    """A whole stored field.

    Parameters
    ----------
    number : int
        Grows by one with each that is published.
    field : bytes
        Of `EnergyField.to_bytes`.
    embedder : str, optional
        What `Database.embedder` said when it was published.
    ids : sequence of hashable, length n
    columns : EnergyColumns
        Of these rows.
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors that the columns were made of.
    """

    number: int
    field: bytes
    embedder: str | None
    ids: Sequence[Any]
    columns: EnergyColumns
    fingerprints: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Hit:
    """A row that a search found."""

    id: str | None
    text: str
    distance: float  # energy distance
    metadata: dict[str, Any] = field(default_factory=dict)


class Database(Rows, Protocol):
    """`Rows` with a place for one field and the columns of the rows.

    Each of `publish`, `write` and `drop` happens whole or not at all, and so that no two writers
    mix: as one transaction, or as a new generation beside the old and one pointer that turns.
    """

    def state(self) -> Hashable:
        """Something that is another one after each change of rows or field, by anybody."""

    def embedder(self) -> str | None:
        """Identity of what embeds the rows; None where that is not known."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question in the rows' embedding, (d,)."""

    def matching(self, where: Any) -> list[Any]:
        """Ids of the rows that pass a filter of the database's own."""

    def records(self, ids: Sequence[Any]) -> Mapping[Any, tuple[str, dict[str, Any]]]:
        """Text and metadata of rows by id; those that are gone are missing."""

    def values(self, key: str) -> Mapping[Any, Any]:
        """A column or metadata key of the rows that have it, by id."""

    def generation(self) -> int:
        """Number of the stored field, 0 for none."""

    def read(self) -> Generation | None:
        """The stored field; of rows that were written with it or since.

        Raises
        ------
        CorruptFieldError
            It cannot be read.
        """

    def publish(self, generation: Generation) -> None:
        """Store a field and the columns of its rows in place of what there was."""

    def write(
        self,
        number: int,
        ids: Sequence[Any],
        columns: EnergyColumns,
        fingerprints: NDArray[np.uint32],
        removed: Sequence[Any],
    ) -> bool:
        """Store columns of some rows, drop those of others; False where the field is another."""

    def drop(self) -> None:
        """Remove field and columns."""
