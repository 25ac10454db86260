"""Networks without values, to be filled from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_values() -> Iterator[None]:
    """Within it, modules are made on the meta device and nothing is initialised.

    Initialising a meta tensor is work for nothing, and its normal distribution imports torch's
    compiler, which takes seconds.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Untouched(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            given = kwargs or {}
            if getattr(func, "__module__", None) == "torch.nn.init":
                return given["tensor"] if "tensor" in given else args[0]
            return func(*args, **given)

    with torch.device("meta"), Untouched():
        yield
