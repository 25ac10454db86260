"""Questions to the demonstration: cosine and energy from both hosts, with their times."""

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

QUESTIONS = (
    "read a csv file with a header",
    "run a command and capture its output",
    "wait for several threads to finish",
    "parse command line arguments",
    "send an email with an attachment",
    "compress a file with gzip",
    "replace text that matches a pattern",
    "difference between two dates",
    "download a web page over https",
    "sort a list by several keys",
    "create a temporary directory and delete it afterwards",
    "generate a cryptographically secure random token",
)

HOSTS = ("LanceDB", "Chroma")
RANKINGS = ("cosine", "energy")

Query = str | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """One document found.

    Attributes
    ----------
    name, text : str
        The document.
    distance : float
        Cosine distance or energy distance: comparable only within one ranking.
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
        ranking : {"cosine", "energy"}
        query : str or ndarray of shape (d,), float32
            A text is embedded by the host itself, through the function stored with it.
        k : int
            Answers wanted.
        """
        if host == "LanceDB":
            return self._ask_lancedb(ranking, query, k)
        return self._ask_chroma(ranking, query, k)

    def _ask_lancedb(self, ranking: str, query: Query, k: int) -> list[Answer]:
        if ranking == "energy":
            search = self._energy_table.search(query).select(["name", "text"])
        else:
            search = self._table.search(query).distance_type("cosine")
            search = search.select(["name", "text", "_distance"])
        found = search.limit(k).to_arrow().to_pylist()
        return [Answer(row["name"], row["text"], row["_distance"]) for row in found]

    def _ask_chroma(self, ranking: str, query: Query, k: int) -> list[Answer]:
        host = self._energy_collection if ranking == "energy" else self._collection
        asked: dict[str, Any] = (
            {"query_texts": [query]} if isinstance(query, str) else {"query_embeddings": [query]}
        )
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
