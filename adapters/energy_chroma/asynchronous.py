"""Energy ranking for the collections of Chroma's asynchronous client."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.types import QueryResult

from energy_chroma.bridge import Worker, bridged, unbridged
from energy_chroma.collection import PASSED_ON, EnergyCollection
from energy_chroma.reranker import EnergyReranker
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.awaiting import awaited
from energy_plugin.stored.passing import passed_on

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig


class AsyncEnergyCollection:
    """`EnergyCollection` for ``chromadb.AsyncHttpClient``: the same methods, awaited.

    The work is done in separate threads; requests go through the client of the collection. The
    event loop stays free, even while texts are embedded. Tasks may share one object. A cancelled
    task stops waiting; a write that has begun is completed.

    Parameters
    ----------
    collection : chromadb AsyncCollection
        Of ``await chromadb.AsyncHttpClient(...)``.
    watch : bool, default True
        See `EnergyCollection`.
    device : str, optional
        Device for the computation: ``"cuda"``, ``"mps"``, ``"cpu"``.
    read_consistency_interval : float or timedelta, optional
        See `EnergyCollection`.

    Raises
    ------
    InvalidInputError
        Not an asynchronous Chroma collection.

    Examples
    --------
    >>> energy = await AsyncEnergyCollection(collection).build()
    >>> await energy.query(query_texts=["flow past a wedge"], n_results=10)
    """

    def __init__(
        self,
        collection: AsyncCollection,
        *,
        watch: bool = True,
        device: str | None = None,
        read_consistency_interval: float | timedelta | None = None,
    ) -> None:
        if not isinstance(collection, AsyncCollection):
            raise InvalidInputError(
                f"Expected a chromadb AsyncCollection, got {type(collection).__name__}. Pass the "
                "result of (await chromadb.AsyncHttpClient(...)).get_collection(...); for any "
                "other client, use EnergyCollection."
            )
        self._collection = collection
        self._worker = Worker()
        self._energy = EnergyCollection(
            bridged(collection),
            watch=watch,
            device=device,
            read_consistency_interval=read_consistency_interval,
        )

    def __repr__(self) -> str:
        return f"AsyncEnergyCollection(name={self.name})"

    @property
    def collection(self) -> AsyncCollection:
        """The Chroma collection."""
        return self._collection

    @property
    def name(self) -> str:
        """Name of the Chroma collection."""
        return self._energy.name

    def __getattr__(self, name: str) -> Any:
        collection = self.__dict__.get("_collection")
        if collection is None:
            raise AttributeError(name)
        return passed_on(self, collection, "collection", PASSED_ON, name)

    async def _run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._worker.run(work, *args, **kwargs)

    build = awaited(EnergyCollection.build)
    refresh = awaited(EnergyCollection.refresh)
    maintain = awaited(EnergyCollection.maintain)
    refit = awaited(EnergyCollection.refit)
    forget = awaited(EnergyCollection.forget)
    search_lambda = awaited(EnergyCollection.search_lambda)
    info = awaited(EnergyCollection.info)
    verify = awaited(EnergyCollection.verify)
    repair = awaited(EnergyCollection.repair)
    drop = awaited(EnergyCollection.drop)

    @functools.wraps(EnergyCollection.reembed)
    async def reembed(  # noqa: D102
        self, *args: Any, **kwargs: Any
    ) -> AsyncEnergyCollection:
        await self._run(self._energy.reembed, *args, **kwargs)
        self._collection = unbridged(self._energy.collection, self._collection)
        return self

    embed_query = awaited(EnergyCollection.embed_query)
    query = awaited(EnergyCollection.query)
    get = awaited(EnergyCollection.get)
    peek = awaited(EnergyCollection.peek)
    count = awaited(EnergyCollection.count)

    add = awaited(EnergyCollection.add)
    upsert = awaited(EnergyCollection.upsert)
    update = awaited(EnergyCollection.update)
    delete = awaited(EnergyCollection.delete)
    modify = awaited(EnergyCollection.modify)


class AsyncEnergyReranker:
    """`EnergyReranker` for the results of an ``AsyncCollection``.

    Parameters
    ----------
    collection : chromadb AsyncCollection or AsyncEnergyCollection, optional
    config : EnergyConfig, optional
    device : str, optional
        See `EnergyReranker`.

    Examples
    --------
    >>> found = await collection.query(query_texts=["heat flow"], n_results=100)
    >>> await AsyncEnergyReranker(collection).rerank(found, "heat flow", n_results=10)
    """

    def __init__(
        self,
        collection: AsyncCollection | AsyncEnergyCollection | None = None,
        *,
        config: EnergyConfig | None = None,
        device: str | None = None,
    ) -> None:
        if collection is not None and not isinstance(collection, AsyncEnergyCollection):
            collection = AsyncEnergyCollection(collection, device=device)
        self._worker = Worker() if collection is None else collection._worker
        energy = None if collection is None else collection._energy
        self._reranker = EnergyReranker(energy, config=config, device=device)

    @functools.wraps(EnergyReranker.rerank)
    async def rerank(  # noqa: D102
        self, *args: Any, **kwargs: Any
    ) -> QueryResult:
        return await self._worker.run(self._reranker.rerank, *args, **kwargs)
