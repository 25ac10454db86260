"""What the commands do with a host: one table or collection with energy ranking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField

FIELDS = ("id", "text", "source", "part", "parts", "sha256", "modified")


@dataclass(frozen=True)
class Row:
    """One passage to store; the fields are the columns or metadata keys of the host."""

    id: str
    text: str
    source: str
    part: int
    parts: int
    sha256: str
    modified: str


@dataclass(frozen=True)
class Hit:
    """One row found; distances compare only within one ranking."""

    id: str
    text: str
    distance: float
    source: str | None


@dataclass(frozen=True)
class Content:
    """Rows as the host holds them, those without a vector left out.

    Attributes
    ----------
    ids, texts : list of str
    vectors : ndarray of shape (n, d), float32
    """

    ids: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]


class Store(ABC):
    """One table or collection.

    Parameters
    ----------
    path : Path
        Folder of the host.
    name : str
    """

    host: str

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @classmethod
    @abstractmethod
    def create(cls, path: Path, name: str, encoder: str, dim: int) -> Store:
        """Make one whose texts are embedded by an optical encoder."""

    @property
    @abstractmethod
    def energy(self) -> Any:
        """The EnergyTable or EnergyCollection."""

    @abstractmethod
    def count(self) -> int:
        """Rows in the host."""

    @abstractmethod
    def sources(self) -> list[tuple[str, str, int]]:
        """(source, sha256, parts) of each row that `index` stored."""

    @abstractmethod
    def add(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
        """Store rows."""

    @abstractmethod
    def remove(self, sources: Iterable[str]) -> None:
        """Delete the rows of some files."""

    @abstractmethod
    def embed_query(self, text: str) -> NDArray[np.float32] | None:
        """Vector of a question; None where the rows were not embedded by an optical encoder.

        Raises
        ------
        ForeignFieldError
            The encoder at hand is not the one that embedded the rows.
        """

    @abstractmethod
    def search(self, question: Any, k: int, *, where: str | None, ranking: str) -> list[Hit]:
        """The k nearest rows by "energy" or "cosine" to a text or a vector."""

    @abstractmethod
    def content(self) -> Content:
        """All rows with their vectors; read at once."""

    @abstractmethod
    def forget(self, now: Any, column: str, *, dry_run: bool) -> Any:
        """Lower the fidelity of old rows; the ForgettingPlan."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Rows, bytes, generation and drift of the energy field."""

    @abstractmethod
    def repair(self) -> None:
        """Mend what `findings` finds, with a new field where the present one is unusable."""

    @abstractmethod
    def columns(self) -> tuple[EnergyField, EnergyColumns, list[str]]:
        """Field, columns of its rows and their ids."""

    def findings(self) -> list[dict[str, str]]:
        """What is wrong: kind and message of each."""
        return [
            {"kind": str(each.kind), "message": " ".join(str(each.message).split())}
            for each in self.energy.verify()
        ]

    def build_or_refresh(self, *, show_progress_bar: bool) -> str:
        """Give every row its energy columns; what was done, "built" or "refreshed"."""
        from energy_plugin.errors import NotBuiltError

        try:
            self.energy.refresh()
        except NotBuiltError:
            self.energy.build(show_progress_bar=show_progress_bar)
            return "built"
        return "refreshed"
