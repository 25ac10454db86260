"""A table of any database, ranked by energy: the object over a `Database`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.config import as_config
from energy_plugin.stored.database import Database, Hit
from energy_plugin.stored.database_keeper import ATTEMPTS, DatabaseKeeper
from energy_plugin.stored.fitting import Costs
from energy_plugin.stored.verbs import FieldVerbs
from energy_plugin.validation import as_k, as_memory_limit, as_queries

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig, EnergyField


class HostedField(FieldVerbs):
    """Energy ranking over any database with the methods of `Database`.

    It is also a `host` for the rerankers of LangChain, LlamaIndex and Haystack.

    Parameters
    ----------
    database : Database
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.
    costs : Costs, optional
        Memory that the database takes, for a build with a memory limit.
    """

    def __init__(
        self, database: Database, *, device: str | None = None, costs: Costs | None = None
    ) -> None:
        self._keeper: DatabaseKeeper
        super().__init__(DatabaseKeeper(database, device, costs or Costs()))

    @property
    def database(self) -> Database:
        """The database."""
        return self._keeper.database

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.database.name

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit an energy field to all rows and store it, as a new generation.

        Parameters
        ----------
        config : EnergyConfig, optional
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond the current memory of the process.
        show_progress_bar : bool, default False

        Returns
        -------
        This object.

        Raises
        ------
        InvalidInputError
            There are no rows, the limit is too small, or `config` is not an EnergyConfig.
        """
        limit = as_memory_limit(memory_limit)
        self._keeper.build(as_config(config), limit, show_progress_bar=show_progress_bar)
        return self

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        where: Any = None,
        n_probe: int | Literal["all"] | None = None,
    ) -> list[Hit]:
        """The k rows with the smallest energy distance, nearest first.

        Parameters
        ----------
        query : str or array_like of shape (d,)
        k : int, default 10
        where : object, optional
            A filter for `Database.matching`; applied before ranking.
        n_probe : int or "all", optional
            See `energy_plugin.energy.EnergyIndex.search`.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `field`.
        InvalidInputError
            The query has another dimension, or k is not a positive integer.
        """
        k = as_k(k)
        for _ in range(ATTEMPTS):
            with self._keeper.lock:
                live = self._keeper.open()
                vector = self.embed_query(query) if isinstance(query, str) else query
                queries = as_queries(vector, live.dim, name="query")
                allowed = None
                if where is not None:
                    allowed = live.rows.rows(self.database.matching(where))
                found = live.search(queries, k, allowed, n_probe)
                if found is None:
                    return []
                names = live.rows.names(found.ids[0].tolist())
                distances = found.distances[0].tolist()
                relevance = found.relevance[0].tolist()
            records = self.database.records(names)
            if len(records) == len(names):  # else rows have gone in the meantime
                break
        return [
            Hit(str(name), records[name][0], distance, records[name][1], answers)
            for name, distance, answers in zip(names, distances, relevance, strict=True)
            if name in records
        ]

    # -- what a stack asks of a host

    def energy_field(self) -> EnergyField:
        """The stored field."""
        return self.field

    def vectors(self, ids: Sequence[Any]) -> dict[Any, NDArray[np.float32]]:
        """Vectors of rows by id; unknown ids are left out."""
        return dict(zip(*self.database.vectors(list(dict.fromkeys(ids))), strict=True))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question, (d,) float32."""
        return np.asarray(self.database.embed_query(text), dtype=np.float32)

    def find(self, query: Any, k: int, where: Any = None) -> list[Hit]:
        """As `search`, with the interface of `energy_plugin.candidates.Host`."""
        return self.search(query, k, where=where)
