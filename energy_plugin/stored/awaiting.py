"""Methods of a synchronous object, awaited."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def awaited(method: Callable[..., Any]) -> Any:
    """A method for ``await`` with the signature and documentation of a synchronous one.

    Its class has `_energy`, the synchronous object, and `_run`, which calls something in a
    thread. What returns its own object returns the asynchronous one.
    """

    @functools.wraps(method)
    async def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        found = await self._run(method, self._energy, *args, **kwargs)
        return self if found is self._energy else found

    return call
