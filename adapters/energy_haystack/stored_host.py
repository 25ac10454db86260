"""The host of a component: an open database, or a function that opens one."""

from __future__ import annotations

from typing import Any

from haystack.core.serialization import component_to_dict
from haystack.utils import deserialize_callable, serialize_callable
from haystack.utils.deserialization import deserialize_component_inplace

from energy_plugin.errors import InvalidInputError


def described(component: Any, embedders: tuple[str, ...]) -> dict[str, Any]:
    """Host and embedders of a component as Haystack stores them.

    Raises
    ------
    InvalidInputError
        The host is an open database.
    SerializationError
        Its function is a lambda or stands inside another one.
    """
    host = component.host
    if host is not None and not callable(host):
        raise InvalidInputError(
            f"An open {type(host).__name__} cannot be stored with a pipeline. Pass a "
            f"function of a module that opens it: {type(component).__name__}(host=open_host)."
        )
    found: dict[str, Any] = {"host": None if host is None else serialize_callable(host)}
    for name in embedders:
        one = getattr(component, name)
        found[name] = None if one is None else component_to_dict(one, name)
    return found


def restored(data: dict[str, Any], embedders: tuple[str, ...]) -> dict[str, Any]:
    """The description of a component with the host and the embedders in it made again.

    Raises
    ------
    DeserializationError
        Haystack does not trust the module of the host's function, see its
        `allow_deserialization_module`.
    """
    given = dict(data.get("init_parameters", {}))
    if given.get("host") is not None:
        given["host"] = deserialize_callable(given["host"])
    for name in embedders:
        if given.get(name) is not None:
            deserialize_component_inplace(given, name)
    return {**data, "init_parameters": given}


async def awaited(embedder: Any, **given: Any) -> Any:
    """What an embedder makes, by its asynchronous method where it has one."""
    import asyncio

    if hasattr(embedder, "run_async"):
        return await embedder.run_async(**given)
    return await asyncio.to_thread(embedder.run, **given)
