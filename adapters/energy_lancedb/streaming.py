"""Batches made in the thread that asks, while Lance takes them in threads of its own.

Lance reads a stream in any of its threads. Numerics there would leave work space and freed memory
behind in each of them, which a limit on the memory cannot allow.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa

R = TypeVar("R")
LOOK_SECONDS = 0.5  # between two looks at a writer that takes nothing


def streamed(
    write: Callable[[pa.RecordBatchReader], R], schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> R:
    """What `write` returns for a stream of batches that this thread makes one by one.

    An error on either side ends both, and is raised here.
    """
    handed: queue.Queue[Any] = queue.Queue(maxsize=1)

    def received() -> Iterator[pa.RecordBatch]:
        while (batch := handed.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    with ThreadPoolExecutor(1, thread_name_prefix="energy-stream") as pool:
        done = pool.submit(write, pa.RecordBatchReader.from_batches(schema, received()))
        try:
            for batch in batches:
                if not _hand(handed, batch, done):
                    break
        except BaseException as error:
            _hand(handed, error, done)
            raise
        _hand(handed, None, done)
        return done.result()


def _hand(handed: queue.Queue[Any], item: Any, done: Future[Any]) -> bool:
    """Put an item into the queue; False where the writer has ended."""
    while not done.done():
        try:
            handed.put(item, timeout=LOOK_SECONDS)
        except queue.Full:
            continue
        return True
    return False
