"""Pages side by side: one thread a page is faster than all threads on one page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from energy_plugin.neutral import neutral
from energy_plugin.threads import WORK, get_threads, threads_for

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results of a function over items, in their order, computed on as many threads as allowed.

    Few results are held ahead of the reader, so that memory does not grow with the items.

    Parameters
    ----------
    work : callable
        Takes an item; what it raises is raised when the item's turn comes.
    items : sequence
    """
    most = get_threads()
    count = min(most, len(items))
    if count < 2:
        yield from map(work, items)
        return
    share = (most // count - 1) * WORK  # where pages are fewer than threads, each takes some

    def alone(item: Item) -> Result:
        with neutral(), threads_for(share):
            return work(item)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="energy-pages") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(alone, item))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
