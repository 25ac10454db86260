"""What a query asks for: checked, embedded, and told apart into vectors, words and filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_chroma import result
from energy_chroma.fields import ChromaField
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.validation import as_queries

_VECTORS = ("query_embeddings", "query_images", "query_uris")


@dataclass(frozen=True, eq=False)
class Question:
    """A query after all checks.

    Parameters
    ----------
    vectors : ndarray of shape (q, d), float32
    texts : list of str, length q, optional
        Words that join the ranking.
    filters : dict
        ``where``, ``where_document``, ``ids``; those that were given.
    include : list of str
        What the result shows.
    fields : list of str
        What has to be read of the hits for that.
    """

    vectors: NDArray[np.float32]
    texts: list[str] | None
    filters: dict[str, Any]
    include: list[str]
    fields: list[str]


def words_of(arguments: dict[str, Any], *, hybrid: bool, weight: Any) -> list[str] | None:
    """The texts of a hybrid query; None for any other.

    Raises
    ------
    InvalidInputError
        No texts, something that is not text, or a weight without use.
    """
    if not isinstance(hybrid, bool):
        raise InvalidInputError(f"hybrid must be True or False, got {hybrid!r}.")
    if not hybrid:
        if weight is not None:
            raise InvalidInputError(
                f"lexical_weight is {weight!r}, but the query is not hybrid. Pass hybrid=True."
            )
        return None
    texts = arguments["query_texts"]
    if isinstance(texts, str):
        return [texts]
    if texts is None:
        raise InvalidInputError(
            "hybrid=True needs query_texts, got none. Pass them, alone or together with "
            "query_embeddings."
        )
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise InvalidInputError(
            f"query_texts must be a text or a list of texts, got {texts!r:.80}. A hybrid "
            "query takes its words from them."
        )
    return list(texts)


def require_words(field: ChromaField) -> None:
    """Have the words of all rows; refuse a hybrid query of a collection without words.

    Raises
    ------
    NotBuiltError
    """
    if field.words is None:
        raise NotBuiltError(
            f"Collection {field.host.name!r} has no words for a hybrid query. Call "
            "EnergyCollection(collection).build(lexical=True) once."
        )
    field.complete_words()


def prepared(
    field: ChromaField,
    arguments: dict[str, Any],
    include: Sequence[str],
    texts: list[str] | None,
) -> Question:
    """Validate as Chroma does, and embed what is not a vector yet.

    Raises
    ------
    InvalidInputError
        Vectors of the wrong dimension, or not one for each text.
    """
    host = field.host
    if texts is not None and any(arguments[name] is not None for name in _VECTORS):
        arguments = {**arguments, "query_texts": None}  # vectors are there, of any model
    request = host.prepare_query(**arguments, include=result.split(include))
    vectors = as_queries(np.asarray(request["embeddings"], dtype=np.float32), field.dim)
    if texts is not None and len(texts) != len(vectors):
        raise InvalidInputError(
            f"A hybrid query has {len(texts)} texts and {len(vectors)} vectors. Give one text for "
            "each vector."
        )
    shown = result.extended(include, request["include"])
    names = ("ids", "where", "where_document")
    return Question(
        vectors,
        texts,
        {name: request[name] for name in names if request[name] is not None},
        shown,
        result.fetched(shown, loader=host.has_loader),
    )
