"""A Chroma collection as the plugin needs it: pages, vectors, identity.

This module and `companion` have every use of an interface that Chroma does not document.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import EmbeddingFunction
from chromadb.errors import InternalError, NotFoundError
from numpy.typing import NDArray

from energy_chroma import canary, room
from energy_chroma.companion import Companion
from energy_chroma.identity import identity
from energy_chroma.patience import Patience
from energy_chroma.watching import State, state_of
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.moments import Moment, reached

logger = logging.getLogger(__name__)

# One SQLite statement carries at most 32,766 variables, and Chroma spends one per id.
PAGE = 5_000
# What a PersistentClient works with.
EMBEDDED = "chromadb.api.rust.RustBindingsAPI"


class ChromaHost:
    """One collection of the user.

    Parameters
    ----------
    collection : chromadb.Collection
        Of a persistent, ephemeral or HTTP client.

    Raises
    ------
    InvalidInputError
        Not a (synchronous) Chroma collection.
    """

    def __init__(self, collection: Collection) -> None:
        if not isinstance(collection, Collection):
            raise InvalidInputError(
                f"Expected a chromadb Collection, got {type(collection).__name__}. Pass the result "
                "of client.get_collection(...); for the collection of an asynchronous client, use "
                "AsyncEnergyCollection."
            )
        self.collection = collection
        self.patience = Patience(refused=self._refused)
        self._embeds = False  # whether the function is known to be that of the rows

    # -- identity

    def embedder(self) -> dict[str, Any] | None:
        """Name and semantic configuration of what embeds here; None where Chroma knows none.

        A function handed to ``get_collection`` counts before the stored one: Chroma accepts
        one of the same name with another configuration without a word.
        """
        own = self.collection._embedding_function
        # a function that inherits get_config has none, and would warn when asked; the default
        # one stands for "not given"
        described = getattr(type(own), "get_config", None)
        configured = described not in (None, EmbeddingFunction.get_config) and hasattr(own, "name")
        if own is not None and configured and own.name() != "default":
            return identity(own.name(), own.get_config())
        return self.stored_embedder()

    def stored_embedder(self) -> dict[str, Any] | None:
        """`embedder` as Chroma stores it, whatever the collection was opened with."""
        stored = self.collection.configuration_json.get("embedding_function")
        if not stored or stored.get("type") != "known":
            return None
        return identity(stored["name"], stored.get("config") or {})

    @property
    def name(self) -> str:
        """Name of the collection."""
        return str(self.collection.name)

    # -- reading

    def state(self) -> State | None:
        """State of the files of an embedded database; None where there are none, or unknown."""
        return None if self._file is None else state_of(self._file)

    @cached_property
    def _file(self) -> str | None:
        """The SQLite file of an embedded database."""
        settings = getattr(getattr(self.collection._client, "_system", None), "settings", None)
        if settings is None or settings.chroma_api_impl != EMBEDDED or not settings.is_persistent:
            return None
        return os.path.join(settings.persist_directory, "chroma.sqlite3")

    def _refused(self) -> str | None:
        return None if self._file is None else room.refused(self._file)

    def count(self) -> int:
        """Rows in the collection."""
        return int(self.collection.count())

    def ids(
        self,
        where: Any = None,
        where_document: Any = None,
        ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Ids of the rows that pass the filters, in Chroma's order."""
        found: list[str] = []
        for page in _pages(None if ids is None else list(dict.fromkeys(ids))):
            got = self.collection.get(
                ids=page, where=where, where_document=where_document, include=[]
            )
            found.extend(got["ids"])
        return found

    def first(self) -> list[str]:
        """Id of the first row, if there is one."""
        return list(self.collection.get(limit=1, include=[])["ids"])

    def records(self, ids: Sequence[str], include: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Fields of the given rows, ``{field: {id: value}}``; rows that are gone are missing.

        ``"embeddings"`` are float64 arrays holding float32 numbers, as Chroma returns them. The
        rows that are there are the keys of the field ``"ids"``.
        """
        fields: dict[str, dict[str, Any]] = {name: {} for name in ("ids", *include)}
        for page in _pages(list(ids)):
            if page:
                got = self._readable(page, list(include))
                for name, values in fields.items():
                    if got[name] is not None:
                        values.update(zip(got["ids"], got[name], strict=True))
        return fields

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """The stored vectors of those of the given rows that can be read, (m, d) float32."""
        found = self.records(ids, ["embeddings"])["embeddings"]
        kept = [row for row in ids if row in found]
        return kept, _matrix([found[row] for row in kept])

    def documents(self, ids: Sequence[str]) -> dict[str, str | None]:
        """Documents of those of the given rows that are there."""
        found = self.records(ids, ["documents"])
        return {name: found["documents"].get(name) for name in found["ids"]}

    def pages(self, rows: int = PAGE) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """All rows, a page of ids and (m, d) float32 vectors at a time."""
        offset = 0
        while True:
            page: dict[str, Any] = {"limit": rows, "offset": offset}
            try:
                got: Any = self.collection.get(**page, include=["embeddings"])
                ids = got["ids"]
            except InternalError:
                ids = self.collection.get(**page, include=[])["ids"]
                got = self._readable(ids, ["embeddings"])
            if not ids:
                return
            if got["ids"]:
                yield list(got["ids"]), _matrix(got["embeddings"])
            offset += len(ids)

    def record_pages(self, include: Sequence[str]) -> Iterator[dict[str, Any]]:
        """All rows, a page of ids and fields at a time; not for embeddings, see `pages`."""
        offset = 0
        while True:
            got: Any = self.collection.get(limit=PAGE, offset=offset, include=list(include))  # type: ignore[arg-type]
            if not got["ids"]:
                return
            empty = [None] * len(got["ids"])
            yield {"ids": got["ids"], **{name: got[name] or empty for name in include}}
            offset += len(got["ids"])

    def values(self, key: str) -> dict[str, Any]:
        """One metadata key of all rows that have it, ``{id: value}``."""
        return {
            name: metadata[key]
            for page in self.record_pages(["metadatas"])
            for name, metadata in zip(page["ids"], page["metadatas"], strict=True)
            if metadata and key in metadata
        }

    def between(self, key: str, low: float, high: float) -> tuple[list[str], list[float]]:
        """Ids and values of the rows whose metadata key lies in [low, high]."""
        window: Any = {"$and": [{key: {"$gte": low}}, {key: {"$lte": high}}]}
        found = self.collection.get(where=window, include=["metadatas"])
        values = [float(metadata[key]) for metadata in found["metadatas"] or []]  # type: ignore[arg-type]
        return list(found["ids"]), values

    def nearest(
        self, queries: NDArray[np.float32], k: int, filters: dict[str, Any]
    ) -> dict[str, NDArray[np.float32]]:
        """Chroma's own nearest rows of all queries, ``{id: vector}``."""
        return self.candidates(queries, k, filters)[1]

    def candidates(
        self, queries: NDArray[np.float32], k: int, filters: dict[str, Any], *, vectors: bool = True
    ) -> tuple[list[list[str]], dict[str, NDArray[np.float32]]]:
        """Chroma's own nearest rows of each query, and the vectors of all, ``{id: vector}``.

        An index that another process has changed can fail to resolve an id; such a call finds
        nothing.
        """
        include: Any = ["embeddings"] if vectors else []
        try:
            got = self.collection.query(
                query_embeddings=list(queries), n_results=k, include=include, **filters
            )
        except InternalError as error:
            logger.debug("Chroma could not answer a query of its own: %s", error)
            return [[] for _ in queries], {}
        found: dict[str, NDArray[np.float32]] = {}
        for ids, rows in zip(got["ids"], got["embeddings"] or [], strict=False):
            found.update(zip(ids, _matrix(rows), strict=True))
        return got["ids"], found

    def _readable(self, ids: list[str], include: list[str]) -> dict[str, Any]:
        """``get`` that leaves out rows whose vector this process cannot read."""
        lost: list[str] = []
        got = self._halved(ids, include, lost)
        if lost:
            logger.warning(
                "Chroma lists %d rows of %r but cannot read them, %r for one: another process "
                "wrote them. Open the client again, or use a Chroma server for several processes.",
                len(lost),
                self.collection.name,
                lost[0],
            )
        return got

    def _halved(self, ids: list[str], include: list[str], lost: list[str]) -> dict[str, Any]:
        try:
            return dict(self.collection.get(ids=ids, include=include))  # type: ignore[arg-type]
        except InternalError:
            if len(ids) == 1:
                lost.extend(ids)
                return {"ids": [], **{name: [] for name in include}}
        middle = len(ids) // 2
        left = self._halved(ids[:middle], include, lost)
        right = self._halved(ids[middle:], include, lost)
        return {name: [*left[name], *right[name]] for name in ("ids", *include)}

    # -- Chroma's own preparation of a request: validates as Chroma does and embeds once

    def prepare_query(self, **arguments: Any) -> Any:
        """Validated request with embeddings, Chroma's errors included."""
        if arguments.get("query_texts") is not None and arguments.get("query_embeddings") is None:
            self.require_embedder()
        return self.collection._validate_and_prepare_query_request(**arguments)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question as Chroma's own ``query_texts`` makes it, (d,) float32."""
        self.require_embedder()
        found = self.collection._embed([text], is_query=True)
        return np.asarray(found[0], dtype=np.float32)

    def require_embedder(self) -> None:
        """Refuse to embed a question by a default function that the rows are not of; looks once.

        Raises
        ------
        ForeignFieldError
        """
        if not self._embeds and canary.falls_back(self):
            canary.check(self)
        self._embeds = True

    def embed(self, items: Any) -> list[Any]:
        """Vectors of documents or images by the collection's function."""
        return list(self.collection._embed(items))

    def load(self, uris: list[str]) -> Any:
        """What the collection's loader reads behind uris."""
        assert self.collection._data_loader is not None
        return self.collection._data_loader(uris)

    def prepare_write(self, verb: str, **arguments: Any) -> Any:
        """Validated ``add``, ``upsert`` or ``update`` request with embeddings."""
        prepare = getattr(self.collection, f"_validate_and_prepare_{verb}_request")
        return prepare(**arguments)

    @property
    def has_loader(self) -> bool:
        """Whether the collection can load the data behind its uris."""
        return self.collection._data_loader is not None

    @property
    def max_batch(self) -> int:
        """Most rows of one write."""
        return int(self.collection._client.get_max_batch_size())

    # -- the collection as a whole

    def modify(self, name: Any = None, metadata: Any = None, configuration: Any = None) -> None:
        """``collection.modify``, without Chroma's own check of the configuration afterwards.

        Raises
        ------
        InvalidInputError
            A metadata value that would end the process inside Chroma.
        """
        for key, value in (metadata or {}).items():
            if not isinstance(value, (str, int, float, bool)):
                raise InvalidInputError(
                    f"Metadata of a collection must be str, int, float or bool, got {value!r} "
                    f"for {key!r}."
                )
        reached(Moment.WRITING)
        if configuration is None:
            self.collection.modify(name=name, metadata=metadata)
            return
        server, place = self.collection._client, self._place()
        server._modify(
            id=self.collection.id,
            new_name=name,
            new_metadata=metadata,
            new_configuration=configuration,
            **place,
        )
        self.collection._model = server.get_collection(name=name or self.collection.name, **place)
        if configuration.get("embedding_function") is not None:
            self.collection._embedding_function = configuration["embedding_function"]

    def delete(self) -> None:
        """Delete the collection."""
        reached(Moment.WRITING)
        self.collection._client.delete_collection(name=self.collection.name, **self._place())

    def sibling(self, name: str, function: Any = None) -> Collection | None:
        """Another collection of the same database; None where there is none of that name."""
        server = self.collection._client
        try:
            model = server.get_collection(name=name, **self._place())
        except NotFoundError:
            return None
        return Collection(
            client=server,
            model=model,
            embedding_function=function,
            data_loader=self.collection._data_loader,
        )

    def create_sibling(self, name: str, function: Any) -> None:
        """Make a collection with this one's index settings and metadata, and another function."""
        index: Any = dict(self.collection.configuration_json.get("hnsw") or {})
        reached(Moment.WRITING)
        self.collection._client.create_collection(
            name=name,
            configuration={"hnsw": index, "embedding_function": function},
            metadata=self.collection.metadata,
            **self._place(),
        )

    # -- the companion collection

    @property
    def beside(self) -> Companion:
        """The place of the energy columns."""
        return Companion(self.collection)

    def companion(self, *, create: bool = False) -> Collection | None:
        """See `Companion.open`."""
        return self.beside.open(create=create)

    def _place(self) -> dict[str, Any]:
        return {"tenant": self.collection.tenant, "database": self.collection.database}


def _pages(ids: Sequence[str] | None) -> Iterator[list[str] | None]:
    if ids is None:
        yield None
        return
    for start in range(0, len(ids), PAGE):
        yield list(ids[start : start + PAGE])


def _matrix(vectors: Any) -> NDArray[np.float32]:
    matrix = np.asarray(vectors, dtype=np.float32)
    return matrix if len(matrix) else np.zeros((0, 0), dtype=np.float32)
