"""Members of the host's own object that a wrapper passes on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def passed_on(wrapper: object, inner: Any, place: str, names: Collection[str], name: str) -> Any:
    """The member `name` of the host's object.

    Parameters
    ----------
    wrapper : object
        That was asked for it.
    inner : object
        The host's own table or collection.
    place : str
        Attribute of the wrapper that holds it.
    names : collection of str
        What is passed on.

    Raises
    ------
    AttributeError
        It is not among the names; the message says where it is.
    """
    kind = type(wrapper).__name__
    if name in names:
        return getattr(inner, name)
    if not name.startswith("_") and hasattr(inner, name):
        raise AttributeError(
            f"{kind!r} has no attribute {name!r}: it belongs to the host's own object and does "
            f"not know the energy columns. Call it there: .{place}.{name}"
        )
    raise AttributeError(f"{kind!r} object has no attribute {name!r}")
