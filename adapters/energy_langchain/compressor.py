"""Energy as a LangChain document compressor, that is a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr

from energy_plugin.candidates import CandidateRanker, Candidates, keys_of, lexical_scores

SCORE = "relevance_score"


class EnergyCompressor(BaseDocumentCompressor):
    """Order retrieved documents by energy distance and keep the best.

    The vector of a document is taken from its metadata (`vector_key`), else from the host by
    `Document.id`, else its text is embedded. The question is embedded by `embeddings`, else by
    the host's embedding function.

    Parameters
    ----------
    host : object, optional
        An `EnergyCollection` or `EnergyTable`, whose field ranks; a plain Chroma collection or
        LanceDB table, which supplies vectors; or an object with the methods of
        `energy_plugin.candidates.Host`.
    embeddings : Embeddings, optional
        The embeddings that made the host's vectors.
    energy_field : EnergyField, optional
        Used instead of the host's field. Without any field, the ranking uses only the candidates.
    top_n : int, optional
        Documents to keep; all by default.
    vector_key : str, default "embedding"
        Metadata key of a document's vector, if it has one.
    lexical_key : str, optional
        Metadata key of a score by words, for example from a BM25 retriever; the scores are part of
        the ranking. At least one document must have the key; a document without it has no matching
        word.
    lexical_weight : float, optional
        Share of the words, 0 to 1; the default is a medium value.
    id_column : str, default "id"
        LanceDB's column of ids.
    device : str, optional

    Notes
    -----
    ``metadata["relevance_score"]`` is the negative energy distance. The input documents are not
    changed.

    Examples
    --------
    >>> ContextualCompressionRetriever(                                     # doctest: +SKIP
    ...     base_compressor=EnergyCompressor(host=energy, embeddings=embeddings, top_n=5),
    ...     base_retriever=store.as_retriever(search_kwargs={"k": 100}),
    ... )
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    host: Any = None
    embeddings: Embeddings | None = None
    energy_field: Any = None
    top_n: int | None = Field(default=None, ge=1)
    vector_key: str = "embedding"
    lexical_key: str | None = None
    lexical_weight: float | None = Field(default=None, ge=0, le=1)
    id_column: str = "id"
    device: str | None = None
    _ranker: CandidateRanker = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the host once."""
        self._ranker = CandidateRanker(
            self.host, field=self.energy_field, id_column=self.id_column, device=self.device
        )

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[Document]:
        """The documents in their new order, each with its score.

        Raises
        ------
        InvalidInputError
            A vector is missing, or its dimension differs from the question's.
        NotBuiltError, ForeignFieldError, CorruptFieldError
            The host's field cannot be used.
        """
        if not documents:
            return []
        embed = None if self.embeddings is None else self.embeddings.embed_query
        vector = self._ranker.embed_query(query, embed)
        candidates = self._candidates(documents)
        if candidates.missing and self.embeddings is not None:
            texts = [candidates.texts[at] for at in candidates.missing]
            candidates = candidates.embedded(self.embeddings.embed_documents(texts))
        return self._ordered(documents, vector, candidates)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[Document]:
        """As `compress_documents`; embeds with the asynchronous methods of `embeddings`."""
        if not documents:
            return []
        if self.embeddings is None:
            vector: Any = await run_in_executor(None, self._ranker.embed_query, query)
        else:
            vector = await self.embeddings.aembed_query(query)
        candidates = await run_in_executor(None, self._candidates, documents)
        if candidates.missing and self.embeddings is not None:
            texts = [candidates.texts[at] for at in candidates.missing]
            candidates = candidates.embedded(await self.embeddings.aembed_documents(texts))
        return await run_in_executor(None, self._ordered, documents, vector, candidates)

    def _candidates(self, documents: Sequence[Document]) -> Candidates:
        return self._ranker.candidates(
            [document.id for document in documents],
            [document.page_content for document in documents],
            [document.metadata.get(self.vector_key) for document in documents],
        )

    def _ordered(
        self, documents: Sequence[Document], vector: Any, candidates: Candidates
    ) -> list[Document]:
        lexical = None
        if (key := self.lexical_key) is not None:
            metas = [each.metadata for each in documents]
            lexical = lexical_scores([each.get(key) for each in metas], key, keys_of(metas))
        ranking = self._ranker.order(
            vector,
            candidates,
            self.top_n,
            lexical=lexical,
            lexical_weight=self.lexical_weight,
        )
        return [
            documents[at].model_copy(
                update={"metadata": {**documents[at].metadata, SCORE: -float(distance)}}
            )
            for at, distance in zip(ranking.order, ranking.distances, strict=True)
        ]
