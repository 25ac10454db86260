"""What a database must do for an energy field to live in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import CorruptFieldError

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
        """The ids that exist, in their order, and their vectors, (m, d)."""

    def pages(self, rows: int = ...) -> Iterator[tuple[list[Any], NDArray[np.float32]]]:
        """All rows, a page of ids and (m, d) vectors at a time, always in the same order."""


@dataclass(frozen=True, eq=False)
class Generation:
    """A complete stored field.

    Parameters
    ----------
    number : int
        Number of the generation; 0 until it is published.
    field : bytes
        Of `EnergyField.to_bytes`.
    embedder : str, optional
        The result of `Database.embedder` when it was published.
    ids : sequence of hashable, length n
    columns : EnergyColumns
        Of these rows.
    fingerprints : ndarray of shape (n,), uint32
        Of the vectors from which the columns were computed.
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
    relevance: float | None = None  # 0 to 1; None where the host gives none

    @property
    def described(self) -> dict[str, Any]:
        """The metadata with the relevance, where there is one, under ``relevance``."""
        own = {} if self.relevance is None else {"relevance": self.relevance}
        return {**self.metadata, **own}


class Database(Rows, Protocol):
    """`Rows` with a place for one field and the columns of the rows.

    Each of `publish`, `write` and `drop` happens completely or not at all, and two writers never
    mix: use one transaction, or write a new generation next to the old one and switch one pointer.
    """

    def state(self) -> Hashable:
        """A value that differs after every change of rows or field, by any process."""

    def embedder(self) -> str | None:
        """Identity of the embedding function of the rows; None if it is not known."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question in the rows' embedding, (d,)."""

    def matching(self, where: Any) -> list[Any]:
        """Ids of the rows that pass a filter in the database's own syntax."""

    def records(self, ids: Sequence[Any]) -> Mapping[Any, tuple[str, dict[str, Any]]]:
        """Text and metadata of rows by id; deleted rows are missing."""

    def values(self, key: str) -> Mapping[Any, Any]:
        """A column or metadata key of the rows that have it, by id."""

    def generation(self) -> int:
        """Number of the stored field, 0 for none."""

    def read(self) -> Generation | None:
        """The stored field, with the rows that were written with it or since.

        Raises
        ------
        CorruptFieldError
            It cannot be read.
        """

    def publish(self, generation: Generation) -> int:
        """Store a field and the columns of its rows, and replace the previous field.

        Returns
        -------
        int
            The number of the new generation; no earlier generation had it.
        """

    def write(
        self,
        number: int,
        ids: Sequence[Any],
        columns: EnergyColumns,
        fingerprints: NDArray[np.uint32],
        removed: Sequence[Any],
    ) -> bool:
        """Store columns of some rows, drop those of others; False if another field replaced it."""

    def drop(self) -> None:
        """Remove field and columns."""


def columns_of(
    lambda_: Sequence[float],
    dispersion: Sequence[float],
    cell: Sequence[int],
    residual: Sequence[bytes],
    field: bytes,
) -> EnergyColumns:
    """Columns of rows from a database, one value of each column per row.

    Parameters
    ----------
    lambda_, dispersion, cell, residual : sequences of length n
    field : bytes
        Of `EnergyField.to_bytes`; says how long a code is.

    Raises
    ------
    CorruptFieldError
        A value is missing, or a code has another length than the field's.
    """
    from energy_plugin.energy import EnergyColumns, EnergyField
    from energy_plugin.energy.codec.codes import code_bytes

    settings = EnergyField.from_bytes(field)
    width = code_bytes(settings.dim, settings.config.bits)
    lengths = {len(code) if isinstance(code, bytes) else -1 for code in residual}
    scalars = (*lambda_, *dispersion, *cell)
    if lengths - {width} or any(not isinstance(value, (int, float)) for value in scalars):
        raise CorruptFieldError(
            f"Energy columns of {len(residual)} rows are incomplete or altered: codes have "
            f"{sorted(lengths)} bytes, expected {width}. Call build() again."
        )
    codes = np.frombuffer(b"".join(residual), dtype=np.uint8).reshape(len(residual), width)
    return EnergyColumns(
        np.array(lambda_, dtype=np.float32),
        np.array(dispersion, dtype=np.float32),
        np.array(cell, dtype=np.int32),
        codes.copy(),
    )
