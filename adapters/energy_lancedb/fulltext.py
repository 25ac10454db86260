"""The table's own full-text search, as scores by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.query import FullTextQuery, MatchQuery, MultiMatchQuery
from numpy.typing import NDArray

from energy_lancedb.host import ROWID, Host, joined
from energy_plugin.errors import InvalidInputError

SCORE = "_score"
LEXICAL_ROWS = 1000  # that a hybrid search takes from the full-text search of a question


@dataclass(frozen=True, eq=False)
class Matches:
    """Rows that match a question by its words, the best first.

    Parameters
    ----------
    rowids : ndarray of shape (n,), uint64
    scores : ndarray of shape (n,), float32
        BM25, as LanceDB computes it.
    """

    rowids: NDArray[np.uint64]
    scores: NDArray[np.float32]


class FullText:
    """Asks LanceDB's full-text indexes, which also scan the rows that they do not hold yet.

    Parameters
    ----------
    host : Host
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._indexed: tuple[int | None, list[str]] | None = None  # by version

    def columns(self, wanted: str | Sequence[str] | None = None) -> list[str]:
        """Columns to search in: those that are wanted, or else all that have an index.

        Raises
        ------
        InvalidInputError
            One has no full-text index, or none has.
        """
        indexed = self._names()
        chosen = [wanted] if isinstance(wanted, str) else list(wanted or indexed)
        missing = [name for name in chosen if name not in indexed]
        if chosen and not missing:
            return chosen
        texts = [c.name for c in self._host.schema if is_text(c.type)]
        name = missing[0] if missing else (texts or ["text"])[0]
        what = f"of the column {name!r} " if missing else ""
        raise InvalidInputError(
            f"Table {self._host.name!r} has no full-text index {what}to search for words; "
            f"its indexed columns are {indexed}. Make one: "
            f'from lancedb.index import FTS; energy.create_index("{name}", config=FTS()).'
        )

    def has_index(self) -> bool:
        """Whether any column has a full-text index."""
        return bool(self._names())

    def _names(self) -> list[str]:
        if self._indexed is None or self._indexed[0] != self._host.seen:
            found = self._host.table.list_indices()
            names = [name for one in found if one.index_type == "FTS" for name in one.columns]
            self._indexed = self._host.seen, names
        return self._indexed[1]

    def find(
        self,
        question: str | FullTextQuery,
        columns: str | Sequence[str] | None,
        filters: Sequence[Any],
        limit: int,
    ) -> Matches:
        """The best rows for a question; none for one without a word that the index knows.

        A text is a bag of words: quotes and operators count for nothing. What is more than that
        is said by LanceDB's own query objects.

        Raises
        ------
        InvalidInputError
            See `columns`.
        ValueError
            LanceDB's, for a query object that does not suit the index.
        """
        names = self.columns(columns)
        if isinstance(question, str):
            text = question.encode("utf-8", "replace").decode()  # half a surrogate pair
            one: Any = MatchQuery  # a pydantic class, whose defaults mypy does not see
            many: Any = MultiMatchQuery
            question = many(text, names) if len(names) > 1 else one(text, names[0])
        query = self._host.table.search(question, query_type="fts")
        if filters:
            query = query.where(joined(filters), prefilter=True)
        found = query.select([SCORE]).with_row_id(True).limit(limit).to_arrow()
        return Matches(
            found[ROWID].to_numpy().astype(np.uint64), found[SCORE].to_numpy().astype(np.float32)
        )


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one that a full-text index takes."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_question(one: Any) -> bool:
    """Whether this can be asked for in words."""
    return isinstance(one, (str, FullTextQuery))
