"""Chroma's asynchronous client as a synchronous one, for threads beside its event loop.

The plugin's own code is synchronous. For an ``AsyncCollection`` it runs in a worker thread, and
each call to the server becomes a coroutine on the caller's loop: one implementation serves both
clients, and neither the numerics nor an embedding function holds up the loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.models.Collection import Collection

R = TypeVar("R")

WORKERS = 4
# How often a waiting thread looks whether the loop that owes it an answer is still there.
LOOP_CHECK_SECONDS = 1.0

_loop: ContextVar[asyncio.AbstractEventLoop] = ContextVar("energy_chroma_loop")


class Worker:
    """Runs synchronous code beside an event loop.

    The threads are its own: the loop's default ones resolve host names, which the calls that
    these threads wait for may need.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="energy-chroma")

    async def run(self, work: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Call `work` in a thread whose `Bridge` calls go to the running loop.

        A caller that is cancelled stops waiting; a write that has begun is still finished.
        """
        loop = asyncio.get_running_loop()
        context = copy_context()
        context.run(_loop.set, loop)
        call = functools.partial(work, *args, **kwargs)
        return await loop.run_in_executor(self._threads, context.run, call)


class Bridge:
    """The methods of an asynchronous server API, for the threads of a `Worker`."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._server, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return _awaited(answer) if asyncio.iscoroutine(answer) else answer

        return call


def bridged(collection: AsyncCollection) -> Collection:
    """The same collection, with the same connection, for the threads of a `Worker`."""
    return Collection(
        client=Bridge(collection._client),  # type: ignore[arg-type]
        model=collection._model,
        embedding_function=collection._embedding_function,
        data_loader=collection._data_loader,
    )


def unbridged(collection: Collection, former: AsyncCollection) -> AsyncCollection:
    """What `bridged` made, over the asynchronous client of the former collection."""
    return AsyncCollection(
        client=former._client,
        model=collection._model,
        embedding_function=collection._embedding_function,
        data_loader=collection._data_loader,
    )


def _awaited(coroutine: Coroutine[Any, Any, R]) -> R:
    loop = _loop.get()
    try:
        future: Future[R] = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # the loop is closed
        coroutine.close()
        raise
    while not wait([future], timeout=LOOP_CHECK_SECONDS).done:
        if loop.is_closed():
            raise RuntimeError("The event loop was closed before Chroma answered.")
    return future.result()
