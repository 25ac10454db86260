"""Whether Chroma's default function made the vectors of the rows, asked before it embeds a text.

Chroma embeds by its default function wherever nobody names another one, also where the rows came
with vectors of their own. Of the same dimension, such a question would be answered with nonsense.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from chromadb.api.types import DefaultEmbeddingFunction

from energy_plugin.errors import ForeignFieldError

ROWS = 3  # that are embedded again
ALIKE = 0.5  # cosine of a row and its own document: 1 of one function, near 0 of two


def falls_back(host: Any) -> bool:
    """Whether a `ChromaHost` embeds texts by the default function."""
    stored = host.stored_embedder()
    own = host.collection._embedding_function
    default = isinstance(own, DefaultEmbeddingFunction)
    return default and (stored is None or stored["name"] == "default")


def check(host: Any) -> None:
    """Embed some documents of rows again, and compare with their vectors.

    Raises
    ------
    ForeignFieldError
        The vectors are another function's.
    """
    got = host.collection.get(limit=ROWS, include=["documents", "embeddings"])
    rows = np.asarray(got["embeddings"], dtype=np.float32)
    documents = got["documents"] or []
    known = [at for at, text in enumerate(documents) if text and text.strip()]
    if not known:
        return  # nothing to compare
    again = host.embed([documents[at] for at in known])
    found = np.asarray(again, dtype=np.float32)
    rows = rows[known]
    what = f"{rows.shape[1]} dimensions, that makes {found.shape[1]}"
    if rows.shape == found.shape:
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(found, axis=1)
        cosine = float(((rows * found).sum(1) / np.maximum(lengths, 1e-12)).max())
        if cosine >= ALIKE:
            return
        what = f"a cosine of {cosine:.2f} with what it makes of their documents"
    raise refusal(host, f"its rows have {what}")


def refusal(host: Any, reason: str) -> ForeignFieldError:
    """The error of a text that would be embedded by another function than the rows."""
    return ForeignFieldError(
        f"Collection {host.name!r} was opened without an embedding function. Chroma would embed "
        f"the text with its default function, but {reason}. Open the collection with the function "
        "of its rows, client.get_collection(name, embedding_function=...), or pass the vector of "
        "the question: query_embeddings=, or the framework's embeddings."
    )
