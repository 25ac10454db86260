"""Energy ranking for the collections of Chroma's asynchronous client."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.types import QueryResult

from energy_chroma.bridge import Worker, bridged, unbridged
from energy_chroma.collection import EnergyCollection
from energy_chroma.reranker import EnergyReranker
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

P = ParamSpec("P")
R = TypeVar("R")


def _awaitable(
    method: Callable[Concatenate[EnergyCollection, P], R],
) -> Callable[Concatenate[AsyncEnergyCollection, P], Coroutine[Any, Any, R]]:
    """A method of `EnergyCollection` for ``await``, with its signature and documentation."""

    @functools.wraps(method)
    async def call(self: AsyncEnergyCollection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._worker.run(method, self._energy, *args, **kwargs)

    return call


class AsyncEnergyCollection:
    """`EnergyCollection` for ``chromadb.AsyncHttpClient``: the same methods, awaited.

    The work is done in threads of its own, its requests go through the client of the
    collection. The event loop is free meanwhile, also while texts are embedded. Tasks may share
    one object. A task that is cancelled stops waiting; a write that has begun is finished.

    Parameters
    ----------
    collection : chromadb AsyncCollection
        Of ``await chromadb.AsyncHttpClient(...)``.
    verify : bool, default True
        See `EnergyCollection`.
    device : str, optional
        Where the numerics run: ``"cuda"``, ``"mps"``, ``"cpu"``.

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
        self, collection: AsyncCollection, *, verify: bool = True, device: str | None = None
    ) -> None:
        if not isinstance(collection, AsyncCollection):
            raise InvalidInputError(
                f"Expected a chromadb AsyncCollection, got {type(collection).__name__}. Pass what "
                "(await chromadb.AsyncHttpClient(...)).get_collection(...) returns; for any other "
                "client use EnergyCollection."
            )
        self._collection = collection
        self._worker = Worker()
        self._energy = EnergyCollection(bridged(collection), verify=verify, device=device)

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

    @functools.wraps(EnergyCollection.build)
    async def build(  # noqa: D102 - has the docstring of the other
        self, *args: Any, **kwargs: Any
    ) -> AsyncEnergyCollection:
        await self._worker.run(self._energy.build, *args, **kwargs)
        return self

    @functools.wraps(EnergyCollection.refit)
    async def refit(  # noqa: D102
        self, *args: Any, **kwargs: Any
    ) -> AsyncEnergyCollection:
        await self._worker.run(self._energy.refit, *args, **kwargs)
        return self

    refresh = _awaitable(EnergyCollection.refresh)

    @functools.wraps(EnergyCollection.reembed)
    async def reembed(  # noqa: D102
        self, *args: Any, **kwargs: Any
    ) -> AsyncEnergyCollection:
        await self._worker.run(self._energy.reembed, *args, **kwargs)
        self._collection = unbridged(self._energy.collection, self._collection)
        return self

    maintain = _awaitable(EnergyCollection.maintain)
    forget = _awaitable(EnergyCollection.forget)
    drop = _awaitable(EnergyCollection.drop)

    info = _awaitable(EnergyCollection.info)
    verify = _awaitable(EnergyCollection.verify)
    repair = _awaitable(EnergyCollection.repair)

    embed_query = _awaitable(EnergyCollection.embed_query)
    query = _awaitable(EnergyCollection.query)
    get = _awaitable(EnergyCollection.get)
    peek = _awaitable(EnergyCollection.peek)
    count = _awaitable(EnergyCollection.count)

    add = _awaitable(EnergyCollection.add)
    upsert = _awaitable(EnergyCollection.upsert)
    update = _awaitable(EnergyCollection.update)
    delete = _awaitable(EnergyCollection.delete)
    modify = _awaitable(EnergyCollection.modify)


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
