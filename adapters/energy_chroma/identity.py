"""What embeds the rows of a collection, as far as it decides their vectors."""

from __future__ import annotations

import json
from typing import Any

from chromadb.api.types import EmbeddingFunction

from energy_plugin.errors import InvalidInputError

# Settings of an embedding function that do not change its vectors.
_NOT_SEMANTIC = frozenset(
    {
        "api_key",
        "api_key_env_var",
        "batch_size",
        "device",
        "encoder",
        "max_retries",
        "show_progress_bar",
        "timeout",
    }
)


def identity_of(function: Any) -> dict[str, Any]:
    """Name and semantic configuration of an embedding function.

    Raises
    ------
    InvalidInputError
        It has neither, so that Chroma could not store and restore it.
    """
    if not isinstance(function, EmbeddingFunction) or function.is_legacy():
        raise InvalidInputError(
            f"{type(function).__name__} is not an embedding function that Chroma can store: "
            "it needs name(), get_config() and build_from_config()."
        )
    return identity(function.name(), function.get_config())


def identity(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Name and configuration as JSON has them, without what does not change a vector."""
    semantic = {key: value for key, value in config.items() if key not in _NOT_SEMANTIC}
    whole = {"name": name, "config": semantic}
    return dict(json.loads(json.dumps(whole, sort_keys=True, default=str)))
