"""A batch that does not fit the device is halved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from energy_plugin.errors import DeviceMemoryError

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def halved(read: Callable[[Sequence[Any]], Sequence[_T]], items: Sequence[Any]) -> list[_T]:
    """Read items at once; in halves, and halves of these, where memory runs out.

    Parameters
    ----------
    read : callable
        Gives one result an item, whatever the others are.
    items : sequence

    Raises
    ------
    DeviceMemoryError
        One item alone is too much.
    """
    try:
        return list(read(items))
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        if len(items) <= 1:
            reason = str(error).partition("\n")[0]
            raise DeviceMemoryError(
                f"one page does not fit the device's memory ({reason}); choose a smaller mode, "
                "dtype='bfloat16', or device='cpu'"
            ) from error
    # Outside the handler: the traceback would keep the tensors of the failed pass.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    logger.warning("memory ran out at %d pages; continuing with %d at a time", len(items), middle)
    return [*halved(read, items[:middle]), *halved(read, items[middle:])]
