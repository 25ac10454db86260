"""Databases as the stacks need them: vectors by id, the field, a search.

Objects of Chroma and LanceDB are recognised by the package of their class, so that neither
library has to be installed. Any other object with the methods of `Host` works as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.database import Hit

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyField

PAGE = 5_000  # ids in one request
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_WHOLE_TYPE = re.compile(r"(u?)int(8|16|32|64)")
_TEXT_TYPES = ("string", "large_string", "string_view")
_UUID = "extension<arrow.uuid>"
_BYTES_TYPES = ("binary", "large_binary", "binary_view", _UUID)


@runtime_checkable
class Host(Protocol):
    """Methods that the frameworks need. Implement them to use another database."""

    def energy_field(self) -> EnergyField | None:
        """The field of the rows; None if no field should be used."""

    def vectors(self, ids: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        """Vectors of rows by id, (d,) each; unknown ids are left out."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question in the rows' embedding, (d,)."""

    def find(self, query: Any, k: int, where: Any = None) -> list[Hit]:
        """The k rows nearest to a text or a vector of shape (d,), nearest first."""


@runtime_checkable
class HybridHost(Host, Protocol):
    """A host that also searches by words and vectors together."""

    def find_hybrid(
        self,
        text: str,
        k: int,
        where: Any = None,
        *,
        vector: Any = None,
        lexical_weight: float | None = None,
    ) -> list[Hit]:
        """The k best rows by the words of a text and its vector (d,), best first.

        The host embeds the text if no vector is given. `lexical_weight` is the share of the words,
        0 to 1; by default, the host's own.
        """


def as_host(host: Any, *, id_column: str = "id", text_column: str = "text") -> Host | None:
    """The `Host` of an object of Chroma or LanceDB.

    Parameters
    ----------
    host : EnergyCollection, EnergyTable, chromadb.Collection, lancedb.table.Table or Host
        The first two rank by their energy field; plain ones only supply their vectors. None stays
        None.
    id_column, text_column : str
        LanceDB's columns of ids and texts.

    Raises
    ------
    InvalidInputError
        Some other object, or an asynchronous one.
    """
    if host is None:
        return None
    if any(each.__name__.startswith("Async") for each in type(host).__mro__):
        raise InvalidInputError(
            f"host is asynchronous, {type(host).__name__}. Pass the synchronous object of the same "
            "data; asynchronous calls run the host in a thread."
        )
    packages = {each.__module__.partition(".")[0] for each in type(host).__mro__}
    if packages & {"energy_chroma", "chromadb"} and hasattr(host, "query"):
        return _Chroma(host, ranked="energy_chroma" in packages)
    if packages & {"energy_lancedb", "lancedb"} and hasattr(host, "search"):
        return _Lance(
            host,
            ranked="energy_lancedb" in packages,
            id_column=id_column,
            text_column=text_column,
        )
    if isinstance(host, Host):
        return host
    raise InvalidInputError(
        f"host must be an EnergyCollection, an EnergyTable, a Chroma collection, a LanceDB table "
        f"or an object with the methods of energy_plugin.candidates.Host, got "
        f"{type(host).__name__}."
    )


class _Chroma:
    def __init__(self, host: Any, *, ranked: bool) -> None:
        self._host = host
        self._ranked = ranked

    @property
    def _ranking(self) -> Any:
        """The host, where it ranks."""
        if not self._ranked:
            raise _only_lends("Chroma collection", "EnergyCollection(collection)")
        return self._host

    def energy_field(self) -> EnergyField | None:
        return self._host.field if self._ranked else None

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        distinct = list(dict.fromkeys(ids))
        for start in range(0, len(distinct), PAGE):
            got = self._host.get(ids=distinct[start : start + PAGE], include=["embeddings"])
            rows = np.asarray(got["embeddings"], dtype=np.float32)
            found.update(zip(got["ids"], rows, strict=True))
        return found

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return np.asarray(self._ranking.embed_query(text), dtype=np.float32)

    def find(self, query: Any, k: int, where: Any = None) -> list[Hit]:
        asked = (
            {"query_texts": [query]} if isinstance(query, str) else {"query_embeddings": [query]}
        )
        return self._hits(self._ranking.query(**asked, n_results=k, where=where))

    def find_hybrid(
        self,
        text: str,
        k: int,
        where: Any = None,
        *,
        vector: Any = None,
        lexical_weight: float | None = None,
    ) -> list[Hit]:
        asked: dict[str, Any] = {} if vector is None else {"query_embeddings": [vector]}
        got = self._ranking.query(
            **asked,
            query_texts=[text],
            n_results=k,
            where=where,
            hybrid=True,
            lexical_weight=lexical_weight,
        )
        return self._hits(got)

    @staticmethod
    def _hits(got: Any) -> list[Hit]:
        keys = ("ids", "documents", "distances", "metadatas", "relevance")
        return [
            Hit(name, text or "", float(distance), dict(metadata or {}), float(relevance))
            for name, text, distance, metadata, relevance in zip(
                *(got[key][0] for key in keys), strict=True
            )
        ]


class _Lance:
    def __init__(self, host: Any, *, ranked: bool, id_column: str, text_column: str) -> None:
        self._host = host
        self._ranked = ranked
        self._id = id_column
        self._text = text_column

    @property
    def _table(self) -> Any:
        return self._host.table if self._ranked else self._host

    @property
    def _ranking(self) -> Any:
        """The host, where it ranks."""
        if not self._ranked:
            raise _only_lends("LanceDB table", "EnergyTable(table)")
        return self._host

    def energy_field(self) -> EnergyField | None:
        return self._host.field if self._ranked else None

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        column = self._host.vector_column if self._ranked else _vector_column(self._table)
        quoted = _literals(self._table, self._id, ids)
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(quoted), PAGE):
            condition = f"`{self._id}` IN ({', '.join(quoted[start : start + PAGE])})"
            rows = (
                self._table.search()
                .where(f"{condition} AND `{column}` IS NOT NULL")
                .select([self._id, column])
                .limit(None)
                .to_arrow()
            )
            for name, vector in zip(
                rows[self._id].to_pylist(), rows[column].to_pylist(), strict=True
            ):
                found.setdefault(str(name), np.asarray(vector, dtype=np.float32))
        return found

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return np.asarray(self._ranking.embed_query(text), dtype=np.float32)

    def find(self, query: Any, k: int, where: Any = None) -> list[Hit]:
        return self._hits(self._ranking.search(query, query_type="vector"), k, where)

    def find_hybrid(
        self,
        text: str,
        k: int,
        where: Any = None,
        *,
        vector: Any = None,
        lexical_weight: float | None = None,
    ) -> list[Hit]:
        energy = self._ranking
        asked = energy.search(query_type="hybrid", lexical_weight=lexical_weight).text(text)
        asked = asked.vector(energy.embed_query(text) if vector is None else vector)
        return self._hits(asked, k, where)

    def _hits(self, asked: Any, k: int, where: Any) -> list[Hit]:
        if where is not None:
            asked = asked.where(where)
        hits = []
        vector_column = self._host.vector_column
        for row in asked.limit(k).to_list():
            name, text = row.pop(self._id, None), row.pop(self._text, None)
            distance = float(row.pop("_distance"))
            relevance = row.pop("_relevance", None)
            row.pop(vector_column, None)
            row.pop("_score", None)  # of the words, in a hybrid search
            name = None if name is None else str(name)
            hits.append(Hit(name, text or "", distance, row, relevance))
        return hits


def _only_lends(what: str, wanted: str) -> InvalidInputError:
    return InvalidInputError(
        f"A plain {what} only supplies its vectors. Pass {wanted}, whose field is "
        "built, or the embedding model that made the vectors."
    )


def _vector_column(table: Any) -> str:
    """The only column of fixed-size float lists.

    Raises
    ------
    InvalidInputError
        There is none, or several.
    """
    names = [
        each.name
        for each in table.schema
        if getattr(each.type, "list_size", None) and str(each.type.value_type) in _FLOATS
    ]
    if len(names) != 1:
        raise InvalidInputError(
            f"Table {table.name!r} must have one vector column, got {names}. "
            "Pass EnergyTable(table, column) instead."
        )
    return str(names[0])


_FLOATS = ("halffloat", "float", "double")


def _literals(table: Any, column: str, ids: Sequence[str]) -> list[str]:
    """SQL literals of distinct ids; those that a column of its type cannot hold are left out.

    Raises
    ------
    InvalidInputError
        The table has no such column, or its type is none that ids have.
    """
    names = [each.name for each in table.schema]
    if column not in names:
        raise InvalidInputError(
            f"Table {table.name!r} has no column {column!r} to find ids in, only {names}. "
            "Name the right one with id_column."
        )
    kind = table.schema.field(column).type
    named = str(kind.value_type if str(kind).startswith("dictionary<") else kind)
    distinct = list(dict.fromkeys(str(each) for each in ids))
    if whole := _WHOLE_TYPE.fullmatch(named):
        bits, signed = int(whole[2]), not whole[1]
        least, most = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
        numbers = [each for each in distinct if _WHOLE.fullmatch(each)]
        return [_number(int(each)) for each in numbers if least <= int(each) < most]
    if named in _TEXT_TYPES:
        return ["'" + each.replace("'", "''") + "'" for each in distinct]
    if named in _BYTES_TYPES or named.startswith("fixed_size_binary["):
        found = [_bytes_of(each, uuid=named == _UUID) for each in distinct]
        return [f"X'{each.hex()}'" for each in found if each is not None]
    raise InvalidInputError(
        f"Column {column!r} of table {table.name!r} holds {named}, but ids must be texts, whole "
        "numbers or bytes. Name another one with id_column."
    )


def _number(value: int) -> str:
    # SQL reads the least of 64 bits as the negative of a number that 64 bits cannot hold
    return str(value) if value > -(1 << 63) else f"CAST('{value}' AS BIGINT)"


def _bytes_of(name: str, *, uuid: bool) -> bytes | None:
    """The bytes that are written so: a UUID, or Python's ``b'...'``; None where it is neither."""
    try:
        value = UUID(name).bytes if uuid else ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, bytes) else None
