"""The open table or collection of a server, one call at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.memory import state_of
from energy_plugin.library.searching import answers, default_ranking, embedder_of
from energy_plugin.library.stores.opening import open_or_create, open_store
from energy_plugin.mcp.ledger import Ledger

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyIndex
    from energy_plugin.library.embedders import Embedder
    from energy_plugin.library.stores.store import Hit

_NAME = "docs"


class Shelf:
    """A store with what its tools share; `lock` keeps their threads apart.

    Parameters
    ----------
    path : Path
        Folder of a database.
    name : str, optional
        Table or collection, where there are several.
    embedder : str, optional
        Needed where the rows were embedded by a class of the user's own.
    new : {"lancedb", "chroma"}, optional
        Make an empty one of that host where `path` has none.

    Raises
    ------
    InvalidInputError
        See `energy_plugin.library.stores.opening.open_store`.
    """

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        *,
        embedder: str | None = None,
        new: str | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self._embedder: Embedder | None = None
        if new is None:
            self.store = open_store(path, name)
            self._embedder_name = embedder_of(self.store, embedder) or "compact"
        else:
            self._embedder_name = embedder or "compact"
            self.store = open_or_create(path, name or _NAME, new, self.embedder)
            embedder_of(self.store, embedder)
        self.ledger = Ledger(path, self.store.name)
        self._index: tuple[str, EnergyIndex, list[str]] | None = None

    def embedder(self) -> Embedder:
        """What embeds notes, and questions where the host does not."""
        from energy_plugin.library.embedders import load_embedder

        if self._embedder is None:
            self._embedder = load_embedder(self._embedder_name)
        return self._embedder

    def ranking(self, asked: str | None) -> str:
        """The ranking of a search that may leave it open."""
        return asked or default_ranking(self.store)

    def ask(self, question: str, k: int, *, where: str | None, ranking: str) -> list[Hit]:
        """The k best rows; errors as of `energy_plugin.library.searching.ask`."""
        self.require_rows()
        vector: Any = None
        if self.store.embedder_name is not None and question.strip():
            vector = self.embedder().encode_query(question)
        return answers(self.store, question, k, vector=vector, where=where, ranking=ranking)

    def require_rows(self) -> None:
        """Refuse where nothing is stored yet.

        Raises
        ------
        InvalidInputError
        """
        if self.store.count() == 0:
            raise InvalidInputError(
                f"{self.store.name!r} in {self.store.path} is empty. Add a note first, or index a "
                "folder into it."
            )

    def index(self) -> tuple[EnergyIndex, list[str]]:
        """The field of all rows and their ids, by row number; read again after a change."""
        from energy_plugin.energy import EnergyIndex

        self.require_rows()
        state = state_of(self.store.path)
        if self._index is None or self._index[0] != state:
            field, columns, ids = self.store.columns()
            self._index = state, EnergyIndex.from_columns(field, columns), ids
        return self._index[1], self._index[2]

    def row(self, name: str) -> int:
        """Number of a row in `index`.

        Raises
        ------
        InvalidInputError
            There is no such row.
        """
        _, ids = self.index()
        try:
            return ids.index(name)
        except ValueError:
            raise InvalidInputError(
                f"There is no row {name!r} in {self.store.name!r}. Pass an id from a search."
            ) from None
