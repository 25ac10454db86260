"""Questions to the demonstration: three rankings from both hosts, with their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from energy_plugin.library.demonstration.store import DemoStore

HOSTS = ("LanceDB", "Chroma")
RANKINGS = ("cosine", "energy", "hybrid")


@dataclass(frozen=True, eq=False)
class Query:
    """One question.

    Attributes
    ----------
    text : str
    vector : ndarray of shape (d,), float32, optional
        None: the host embeds the text, through the function stored with it.
    """

    text: str
    vector: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Answer:
    """One document found.

    Attributes
    ----------
    name, text : str
        The document.
    distance : float
        Of this ranking: comparable only within it.
    """

    name: str
    text: str
    distance: float


class Asker:
    """Asks both hosts of a finished demonstration.

    Parameters
    ----------
    store : DemoStore
        Finished.
    """

    def __init__(self, store: DemoStore) -> None:
        self._table: Any = store.table()
        self._collection: Any = store.collection()
        self._energy_table: Any = store.energy_table()
        self._energy_collection: Any = store.energy_collection()

    def ask(self, host: str, ranking: str, query: Query, k: int) -> list[Answer]:
        """Ask one host by one ranking.

        Parameters
        ----------
        host : {"LanceDB", "Chroma"}
        ranking : {"cosine", "energy", "hybrid"}
        query : Query
        k : int
            Answers wanted.
        """
        if host == "LanceDB":
            return self._ask_lancedb(ranking, query, k)
        return self._ask_chroma(ranking, query, k)

    def _ask_lancedb(self, ranking: str, query: Query, k: int) -> list[Answer]:
        asked = query.text if query.vector is None else query.vector
        if ranking == "hybrid":
            search = self._energy_table.search(query.text, query_type="hybrid")
            if query.vector is not None:
                search = self._energy_table.search(query_type="hybrid").vector(query.vector)
                search = search.text(query.text)
            search = search.select(["name", "text"])
        elif ranking == "energy":
            search = self._energy_table.search(asked).select(["name", "text"])
        else:
            search = self._table.search(asked).distance_type("cosine")
            search = search.select(["name", "text", "_distance"])
        found = search.limit(k).to_arrow().to_pylist()
        return [Answer(row["name"], row["text"], row["_distance"]) for row in found]

    def _ask_chroma(self, ranking: str, query: Query, k: int) -> list[Answer]:
        host = self._collection if ranking == "cosine" else self._energy_collection
        asked: dict[str, Any] = {"hybrid": True} if ranking == "hybrid" else {}
        if query.vector is None or ranking == "hybrid":
            asked["query_texts"] = [query.text]
        if query.vector is not None:
            asked["query_embeddings"] = [query.vector]
        found = host.query(**asked, n_results=k, include=["documents", "distances"])
        rows = zip(found["ids"][0], found["documents"][0], found["distances"][0], strict=True)
        return [Answer(name, text, float(distance)) for name, text, distance in rows]

    def p50(self, host: str, ranking: str, queries: Sequence[Query], k: int = 10) -> float:
        """Median time of one query (ms), every query asked three times."""
        return p50(lambda query: self.ask(host, ranking, query, k), queries)


def p50(work: Callable[[Any], Any], items: Sequence[Any], rounds: int = 3) -> float:
    """Median time of one call (ms), after an unmeasured one that fills the caches."""
    work(items[0])
    times = []
    for _ in range(rounds):
        for item in items:
            start = time.perf_counter()
            work(item)
            times.append(time.perf_counter() - start)
    return 1000 * median(times)
