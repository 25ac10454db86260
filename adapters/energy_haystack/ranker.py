"""Energy as a Haystack ranker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from energy_haystack.stored_host import awaited, described, restored
from energy_plugin.candidates import CandidateRanker, Candidates, keys_of, lexical_scores
from energy_plugin.validation import as_k

EMBEDDERS = ("text_embedder", "document_embedder")


@component
class EnergyRanker:
    """Order documents by energy distance and keep the best.

    The vector of a document is its `embedding`, else the host's under its id, else
    `document_embedder` makes it. The question's vector is `query_embedding` of the call, else
    `text_embedder` makes it, else the host's embedding function.

    Parameters
    ----------
    host : object or function, optional
        An `EnergyCollection` or `EnergyTable`, whose field ranks; a plain Chroma collection or
        LanceDB table, which supplies vectors; or an object with the methods of
        `energy_plugin.candidates.Host`. It may also be a function without arguments that opens
        one; `warm_up` calls it. A stored pipeline needs a function. Without a host, the ranking
        uses only the documents.
    text_embedder, document_embedder : components, optional
        The components that made the host's vectors.
    top_k : int, default 10
        Documents to keep.
    lexical_key : str, optional
        Place of a document's score by words, for example from a BM25 retriever: "score" is its own
        score, anything else a key of its meta, which at least one document must have. The scores
        are part of the ranking; a document without a score has no matching word.
    lexical_weight : float, optional
        Share of the words, 0 to 1; the default is a medium value.
    id_column : str, default "id"
        LanceDB's column of ids.
    device : str, optional

    Notes
    -----
    The score of a document becomes the negative energy distance. If several documents have the
    same id, only the one with the highest score counts.

    Raises
    ------
    InvalidInputError
        `host` is none of these, or `top_k` is not a positive integer.
    """

    def __init__(
        self,
        host: Any | Callable[[], Any] = None,
        *,
        text_embedder: Any = None,
        document_embedder: Any = None,
        top_k: int = 10,
        lexical_key: str | None = None,
        lexical_weight: float | None = None,
        id_column: str = "id",
        device: str | None = None,
    ) -> None:
        self.host = host
        self.text_embedder = text_embedder
        self.document_embedder = document_embedder
        self.top_k = as_k(top_k, name="top_k")
        self.lexical_key = lexical_key
        self.lexical_weight = lexical_weight
        self.id_column = id_column
        self.device = device
        self._ranker = None if callable(host) else self._ranker_of(host)

    def _ranker_of(self, host: Any) -> CandidateRanker:
        return CandidateRanker(host, id_column=self.id_column, device=self.device)

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
            lexical_key=self.lexical_key,
            lexical_weight=self.lexical_weight,
            id_column=self.id_column,
            device=self.device,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EnergyRanker:
        """The component that `to_dict` described.

        Raises
        ------
        DeserializationError
            Haystack does not trust the module of the host's function, see its
            `allow_deserialization_module`.
        """
        made: EnergyRanker = default_from_dict(cls, restored(data, EMBEDDERS))
        return made

    def warm_up(self) -> None:
        """Open the host and load the embedders; later calls do nothing."""
        if self._ranker is None:
            self._ranker = self._ranker_of(self.host())
        for embedder in (self.text_embedder, self.document_embedder):
            if hasattr(embedder, "warm_up"):
                embedder.warm_up()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        query_embedding: list[float] | None = None,
        top_k: int | None = None,
    ) -> dict[str, Any]:
        """Order documents: ``{"documents": copies with their score, nearest first}``.

        Parameters
        ----------
        query : str
        documents : list of Document
        query_embedding : list of float, optional
            Vector of the question, for example from the retriever.
        top_k : int, optional
            Replaces the component's `top_k`.

        Raises
        ------
        InvalidInputError
            A vector is missing, or its dimension differs from the question's.
        NotBuiltError, ForeignFieldError, CorruptFieldError
            The host's field cannot be used.
        """
        if not documents:
            return {"documents": []}
        ranker, documents = self._warm(), _distinct(documents)
        vector: Any = query_embedding
        if vector is None and self.text_embedder is not None:
            vector = self.text_embedder.run(text=query)["embedding"]
        elif vector is None:
            vector = ranker.embed_query(query)
        candidates = _candidates(ranker, documents)
        if candidates.missing and self.document_embedder is not None:
            bare = [documents[at] for at in candidates.missing]
            candidates = _filled(candidates, self.document_embedder.run(documents=bare))
        return self._ordered(documents, vector, candidates, top_k)

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        query_embedding: list[float] | None = None,
        top_k: int | None = None,
    ) -> dict[str, Any]:
        """As `run`; embeds with the embedders' asynchronous method if they have one."""
        if not documents:
            return {"documents": []}
        ranker, documents = await asyncio.to_thread(self._warm), _distinct(documents)
        vector: Any = query_embedding
        if vector is None and self.text_embedder is not None:
            vector = (await awaited(self.text_embedder, text=query))["embedding"]
        elif vector is None:
            vector = await asyncio.to_thread(ranker.embed_query, query)
        candidates = await asyncio.to_thread(_candidates, ranker, documents)
        if candidates.missing and self.document_embedder is not None:
            bare = [documents[at] for at in candidates.missing]
            candidates = _filled(candidates, await awaited(self.document_embedder, documents=bare))
        return await asyncio.to_thread(self._ordered, documents, vector, candidates, top_k)

    def _warm(self) -> CandidateRanker:
        if self._ranker is None:
            self.warm_up()
        assert self._ranker is not None
        return self._ranker

    def _ordered(
        self, documents: list[Document], vector: Any, candidates: Candidates, top_k: int | None
    ) -> dict[str, Any]:
        k = self.top_k if top_k is None else top_k
        lexical = None
        if (key := self.lexical_key) is not None:
            if key == "score":
                lexical = lexical_scores([each.score for each in documents], key)
            else:
                metas = [each.meta for each in documents]
                lexical = lexical_scores([each.get(key) for each in metas], key, keys_of(metas))
        ranking = self._warm().order(
            vector, candidates, k, lexical=lexical, lexical_weight=self.lexical_weight
        )
        return {
            "documents": [
                replace(documents[at], score=-float(distance))
                for at, distance in zip(ranking.order, ranking.distances, strict=True)
            ]
        }


def _candidates(ranker: CandidateRanker, documents: list[Document]) -> Candidates:
    return ranker.candidates(
        [each.id for each in documents],
        [each.content for each in documents],
        [each.embedding for each in documents],
    )


def _filled(candidates: Candidates, found: dict[str, Any]) -> Candidates:
    return candidates.embedded([each.embedding for each in found["documents"]])


def _distinct(documents: list[Document]) -> list[Document]:
    """One document an id, that of the highest score, where the first of them stood."""
    best: dict[str, Document] = {}
    for each in documents:
        rival = best.get(each.id)
        if rival is None or _score(each) > _score(rival):
            best[each.id] = each
    return list(best.values())


def _score(document: Document) -> float:
    return float("-inf") if document.score is None else document.score
