"""A Haystack retriever over a collection or table that is ranked by energy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from energy_haystack.stored_host import awaited, described, restored
from energy_plugin.candidates import Finder, Hit
from energy_plugin.validation import as_k, as_relevance

EMBEDDERS = ("text_embedder",)


@component
class EnergyRetriever:
    """Find documents by energy distance, without a Haystack document store.

    The question's vector is `query_embedding` of the call, else `text_embedder` makes it, else the
    host's embedding function.

    Parameters
    ----------
    host : object or function
        An `EnergyCollection` or `EnergyTable`, or an object with the methods of
        `energy_plugin.candidates.Host`. It may also be a function without arguments that opens
        one; `warm_up` calls it. A stored pipeline needs a function.
    text_embedder : component, optional
        The component that made the host's vectors, if the host has no embedding function.
    top_k : int, default 10
        Documents to return.
    where : optional
        Filter of the host, applied before ranking: a dict for Chroma, SQL for LanceDB.
    hybrid : bool, default False
        Search by words too: a Chroma collection built with ``lexical=True``, or a LanceDB table
        with a full-text index.
    lexical_weight : float, optional
        Share of the words in a hybrid search, 0 to 1; by default, the host's own.
    min_relevance : float, optional
        Leave out documents with a smaller relevance, 0 to 1; an empty result means "nothing
        found".
    id_column, text_column : str
        LanceDB's columns of ids and texts; its other columns become meta.

    Notes
    -----
    The score of a document is the negative energy distance; ``meta["relevance"]`` is the host's
    relevance of the document, 0 to 1.

    Raises
    ------
    InvalidInputError
        `host` is none of these or does not search by words, or `top_k` is not a positive integer.
    """

    def __init__(
        self,
        host: Any | Callable[[], Any],
        *,
        text_embedder: Any = None,
        top_k: int = 10,
        where: Any = None,
        hybrid: bool = False,
        lexical_weight: float | None = None,
        min_relevance: float | None = None,
        id_column: str = "id",
        text_column: str = "text",
    ) -> None:
        self.host = host
        self.text_embedder = text_embedder
        self.top_k = as_k(top_k, name="top_k")
        self.where = where
        self.hybrid = hybrid
        self.lexical_weight = lexical_weight
        self.min_relevance = as_relevance(min_relevance)
        self.id_column = id_column
        self.text_column = text_column
        self._finder = None if callable(host) else self._finder_of(host)

    def _finder_of(self, host: Any) -> Finder:
        return Finder(
            host,
            hybrid=self.hybrid,
            lexical_weight=self.lexical_weight,
            min_relevance=self.min_relevance,
            id_column=self.id_column,
            text_column=self.text_column,
        )

    def to_dict(self) -> dict[str, Any]:
        """Settings as Haystack stores them, the host as the import path of its function.

        Raises
        ------
        InvalidInputError
            The host is an open database.
        SerializationError
            Its function is a lambda or is defined inside another function.
        """
        data: dict[str, Any] = default_to_dict(
            self,
            **described(self, EMBEDDERS),
            top_k=self.top_k,
            where=self.where,
            hybrid=self.hybrid,
            lexical_weight=self.lexical_weight,
            min_relevance=self.min_relevance,
            id_column=self.id_column,
            text_column=self.text_column,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnergyRetriever:
        """The component that `to_dict` described.

        Raises
        ------
        DeserializationError
            Haystack does not trust the module of the host's function, see its
            `allow_deserialization_module`.
        """
        made: EnergyRetriever = default_from_dict(cls, restored(data, EMBEDDERS))
        return made

    def warm_up(self) -> None:
        """Open the host and load the embedder; later calls do nothing."""
        if self._finder is None:
            self._finder = self._finder_of(self.host())
        if hasattr(self.text_embedder, "warm_up"):
            self.text_embedder.warm_up()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        top_k: int | None = None,
    ) -> dict[str, Any]:
        """Find documents: ``{"documents": with their score, nearest first}``.

        Parameters
        ----------
        query : str
        query_embedding : list of float, optional
            Vector of the question.
        top_k : int, optional
            Replaces the component's `top_k`.

        Raises
        ------
        InvalidInputError
            The dimension of the vector differs from that of the rows.
        NotBuiltError, ForeignFieldError, CorruptFieldError
            The host's field cannot be used.
        """
        vector: Any = query_embedding
        if vector is None and self.text_embedder is not None:
            vector = self.text_embedder.run(text=query)["embedding"]
        return self._found(query, vector, top_k)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        query_embedding: list[float] | None = None,
        top_k: int | None = None,
    ) -> dict[str, Any]:
        """As `run`; embeds with the embedder's asynchronous method if it has one."""
        vector: Any = query_embedding
        if vector is None and self.text_embedder is not None:
            vector = (await awaited(self.text_embedder, text=query))["embedding"]
        return await asyncio.to_thread(self._found, query, vector, top_k)

    def _found(self, query: str, vector: Any, top_k: int | None) -> dict[str, Any]:
        if self._finder is None:
            self.warm_up()
        assert self._finder is not None
        k = self.top_k if top_k is None else as_k(top_k, name="top_k")
        hits = self._finder.find(query, k, self.where, vector=vector)
        return {"documents": [_document(hit) for hit in hits]}


def _document(hit: Hit) -> Document:
    # Haystack makes an id of what is in a document where it gets none
    return Document(id=hit.id or "", content=hit.text, meta=hit.described, score=-hit.distance)
