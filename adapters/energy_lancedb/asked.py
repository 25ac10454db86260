"""What a search is asked: vectors, texts or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.fulltext import is_question
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.validation import as_queries

if TYPE_CHECKING:
    from energy_lancedb.live import LiveTable
    from energy_lancedb.pointer import Pointer

KINDS = ("auto", "vector", "fts", "hybrid")  # LanceDB's names


class Asked:
    """The question of one search, or several questions.

    Parameters
    ----------
    query : str, list of str, lancedb.query.FullTextQuery, array_like of shape (d,) or (q, d)
        None only for "hybrid", where `vector` and `text` are set later.
    kind : {"auto", "vector", "fts", "hybrid"}
    column : str, optional
        Vector column that was named.

    Raises
    ------
    InvalidInputError
        There is nothing to ask, or another kind.
    """

    def __init__(self, query: Any, kind: str, column: str | None) -> None:
        if kind not in KINDS:
            raise InvalidInputError(f"query_type must be one of {KINDS}, got {kind!r}.")
        if query is None and kind != "hybrid":
            raise InvalidInputError(
                "query must be a text or a vector, got None. "
                "To read rows without ranking use table.search()."
            )
        query = _plain(query)
        if kind == "auto" and is_question(query) and not isinstance(query, str):
            kind = "fts"
        if kind == "fts" and not _are_questions(query):
            raise InvalidInputError(
                f"A full-text search takes a text, got {type(query).__name__}. For a vector leave "
                "query_type out."
            )
        self.kind = kind
        self.column = column
        words = _are_questions(query)
        self.text: Any = query if words else None
        self.source: Any = query if not words or kind != "fts" else None

    def set_vector(self, vector: Any) -> None:
        """The vector of a hybrid search."""
        self._require_hybrid("vector")
        self.source = vector

    def _require_hybrid(self, name: str) -> None:
        if self.kind != "hybrid":
            raise InvalidInputError(
                f".{name}() belongs to a hybrid search: search(query_type='hybrid').vector(v)"
                ".text(s)."
            )

    def set_text(self, text: Any) -> None:
        """The words of a hybrid search."""
        self._require_hybrid("text")
        text = _plain(text)
        if not _are_questions(text):
            raise InvalidInputError(
                f"text must be a str or a full-text query of LanceDB's, got {type(text).__name__}."
            )
        self.text = text

    def resolved(self, energy: LiveTable) -> str:
        """The kind of search: "auto" is one of the words where nothing can embed a text."""
        if self.kind == "auto":
            texts = isinstance(self.text, str) and not energy.embeds()
            return "fts" if texts and energy.full_text.has_index() else "vector"
        return self.kind

    def texts(self) -> list[Any]:
        """Each question in words.

        Raises
        ------
        InvalidInputError
            There are none.
        """
        if self.text is None:
            raise InvalidInputError(
                "A hybrid search needs the words of the question: add .text(question), or pass "
                "the text to search()."
            )
        return self.text if isinstance(self.text, list) else [self.text]

    def vectors(self, energy: LiveTable, pointer: Pointer) -> NDArray[np.float32]:
        """Questions as vectors, (q, d).

        Raises
        ------
        NotBuiltError
            The field belongs to another column than was named.
        InvalidInputError
            There is no vector and nothing that makes one, or it does not suit the field.
        """
        if self.column is not None and self.column != pointer.vector_column:
            raise NotBuiltError(
                f"The energy field of table {energy.host.name!r} belongs to the vector column "
                f"{pointer.vector_column!r}, not to {self.column!r}. Use table.search for "
                "that column, or build a field on it."
            )
        query = self.text if self.source is None else self.source
        if query is None or (is_question(query) and not isinstance(query, str)):
            raise InvalidInputError(
                "A hybrid search needs the vector of the question: add .vector(vector), or pass "
                "a text to a table that has an embedding function."
            )
        if isinstance(query, list) and query and all(_is_source(one) for one in query):
            query = np.stack([energy.embed_query(one) for one in query])
        elif not isinstance(query, (list, tuple, np.ndarray)) and not hasattr(query, "__array__"):
            query = energy.embed_query(query)
        return as_queries(query, pointer.dim, name="query")

    def several(self) -> bool:
        """Whether there are several questions, so that a result has a ``query_index``."""
        query = self.text if self.source is None else self.source
        if is_question(query):
            return False
        if isinstance(query, (list, tuple)):
            one: Any = query[0] if query else None
            return len(query) > 0 and (is_question(one) or _is_source(one) or np.ndim(one) == 1)
        return np.ndim(query) == 2


def _are_questions(query: Any) -> bool:
    if isinstance(query, list) and query:
        return all(is_question(one) for one in query)
    return is_question(query)


def _is_source(one: Any) -> bool:
    """Whether one of several queries is a text or an image, and no vector."""
    return isinstance(one, str) or (hasattr(one, "convert") and hasattr(one, "size"))


def _plain(query: Any) -> Any:
    """Texts of any make as str or a list of str; anything else as it is."""
    if isinstance(query, str):
        return str(query)  # numpy's own strings pass for arrays
    if isinstance(query, np.ndarray) and query.dtype.kind in "USO":
        query = query.tolist()
    if isinstance(query, (list, tuple)) and any(isinstance(item, str) for item in query):
        return [str(item) if isinstance(item, str) else item for item in query]
    return query
