"""What the commands do with a host: one table or collection with energy ranking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.library.files.part import Value

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField, Maintenance
    from energy_plugin.library.embedders import Embedder

FIELDS = ("id", "text", "source", "part", "parts", "sha256", "modified", "page")
EMBEDDER = "energy_plugin_embedder"  # where a host keeps the name of another embedder
NOTE = "note"  # in place of a file's hash: a row that no file stands for
PINNED = "pinned"  # field of rows that keep their fidelity
MOST_COLUMNS = 256  # that files bring; further fields stand in the text alone


@dataclass(frozen=True)
class Row:
    """One passage or page to store; all but `picture` become columns or metadata of the host."""

    id: str
    text: str
    source: str
    part: int
    parts: int
    sha256: str
    modified: str
    page: int | None = None  # counted from 1, in files that have pages
    picture: bool = False  # the vector is of the page's pixels
    fields: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One row found; distances compare only within one ranking."""

    id: str
    text: str
    distance: float
    source: str | None
    page: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    relevance: float | None = None  # 0 to 1; of energy and hybrid alone
    terms: Mapping[str, float] | None = None  # whose sum is the distance, likewise


@dataclass(frozen=True)
class Passage:
    """One stored row, read without a question."""

    id: str
    text: str
    source: str | None
    part: int | None = None
    page: int | None = None
    modified: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """Rows as the host holds them, those without a vector left out.

    Attributes
    ----------
    ids, texts : list of str
    vectors : ndarray of shape (n, d), float32
    places : list of (str, int) or None
        File and page of rows that have one.
    sources : list of str or None
        File of each row.
    """

    ids: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]
    places: list[tuple[str, int] | None]
    sources: list[str | None]


def place(source: object, page: object) -> tuple[str, int] | None:
    """File and page of a row; None where it has no page."""
    return (source, page) if isinstance(source, str) and isinstance(page, int) else None


class Store(ABC):
    """One table or collection.

    Parameters
    ----------
    path : Path
        Folder of the host.
    name : str
    """

    host: str
    may_lose_rows = False  # whether the host's own search is a graph that deletes can cut

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @classmethod
    @abstractmethod
    def create(cls, path: Path, name: str, embedder: Embedder) -> Store:
        """Make one; where the embedder is optical, the host embeds texts itself."""

    @property
    @abstractmethod
    def energy(self) -> Any:
        """The EnergyTable or EnergyCollection."""

    @abstractmethod
    def count(self) -> int:
        """Rows in the host."""

    @abstractmethod
    def sources(self) -> Iterator[tuple[str, str, int, int]]:
        """(source, sha256, part, parts) of each row that `index` stored, read in batches."""

    @property
    @abstractmethod
    def embedder_name(self) -> str | None:
        """Name of the embedder that `index` was given; None where the host embeds by itself."""

    @abstractmethod
    def add(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
        """Store rows."""

    @abstractmethod
    def remove(self, sources: Iterable[str]) -> None:
        """Delete the rows of some files."""

    @abstractmethod
    def fetch(
        self, *, ids: Sequence[str] | None = None, source: str | None = None
    ) -> list[Passage]:
        """Rows of some ids, or of one file; those that are not there are left out."""

    @abstractmethod
    def embed_query(self, text: str) -> NDArray[np.float32] | None:
        """Vector of a question; None where the rows were not embedded by an optical encoder.

        Raises
        ------
        ForeignFieldError
            The installed encoder is not the one that embedded the rows.
        """

    @property
    @abstractmethod
    def has_words(self) -> bool:
        """Whether the host can rank by words: the texts are indexed too."""

    @abstractmethod
    def search(
        self, text: str, k: int, *, vector: Any | None, where: str | None, ranking: str
    ) -> list[Hit]:
        """The k best rows of one ranking.

        Parameters
        ----------
        text : str
            The question.
        k : int
        vector : array of shape (d,) or None
            Of the question, where the host does not embed it itself.
        where : str, optional
            Filter in the host's language.
        ranking : {"cosine", "words", "fusion", "energy", "hybrid"}
        """

    @abstractmethod
    def content(self) -> Content:
        """All rows with their vectors; read at once."""

    @abstractmethod
    def forget(self, now: Any, column: str, *, dry_run: bool) -> Any:
        """Lower the fidelity of old rows that are not pinned; the ForgettingPlan."""

    def describe(self) -> dict[str, Any]:
        """Rows, bytes, generation and drift of the energy field."""
        info = self.energy.info()
        return {
            "rows": info.rows,
            "dim": info.dim,
            "generation": info.generation,
            "layout": info.layout,
            "cells": info.n_anchors,
            "bits": {str(bits): rows for bits, rows in info.fidelity.items()},
            "vector_bytes": 4 * info.dim * info.rows,
            "energy_column_bytes": info.column_bytes,
            "field_bytes": info.field_bytes,
            "drift": asdict(info.drift),
            "pending": len(info.pending),
            "embedder": info.embedder,
        }

    def repair(self, *, reach: bool = False) -> None:
        """Repair what `findings` finds, with a new field where the present one is unusable."""
        self.energy.repair(rebuild=True, **({"reach": True} if reach else {}))

    @abstractmethod
    def columns(self) -> tuple[EnergyField, EnergyColumns, list[str]]:
        """Field, columns of its rows and their ids."""

    def embedded_by(self, embedder: Embedder) -> bool:
        """Tell whether an embedder gives the vectors that the rows have."""
        if self.embedder_name is not None or not embedder.optical:
            return self.embedder_name == embedder.name
        text = "the same encoder"
        theirs, ours = self.embed_query(text), embedder.encode_query(text)
        return (
            theirs is not None
            and theirs.shape == ours.shape
            and bool(np.allclose(theirs, ours, atol=1e-3))
        )

    def findings(self, *, reach: bool = False) -> list[dict[str, str]]:
        """What is wrong: kind and message of each.

        `reach`, where `may_lose_rows`: also the rows that the host's own search does not find.
        """
        return [
            {"kind": str(each.kind), "message": " ".join(str(each.message).split())}
            for each in self.energy.verify(**({"reach": True} if reach else {}))
        ]

    def refit(self, *, memory_limit: str | None, show_progress_bar: bool) -> str:
        """Fit a new field, or a first one; what was done, "refitted" or "built"."""
        from energy_plugin.errors import NotBuiltError

        try:
            self.energy.refit(memory_limit=memory_limit)
        except NotBuiltError:
            self.energy.build(memory_limit=memory_limit, show_progress_bar=show_progress_bar)
            return "built"
        return "refitted"

    def maintain(self) -> Maintenance:
        """Adapt the field to rows that changed."""
        report: Maintenance = self.energy.maintain()
        return report

    def build_or_refresh(self, *, show_progress_bar: bool, engine: str = "local") -> str:
        """Give every row its energy columns; what was done, "built" or "refreshed".

        Parameters
        ----------
        show_progress_bar : bool
        engine : {"local", "ray"}
            Builds a first field where the host can: Chroma's is built in this process.
        """
        from energy_plugin.errors import NotBuiltError

        try:
            self.energy.refresh()
        except NotBuiltError:
            self._build(engine, show_progress_bar)
            return "built"
        return "refreshed"

    @abstractmethod
    def _build(self, engine: str, show_progress_bar: bool) -> None:
        """Build a first field."""
