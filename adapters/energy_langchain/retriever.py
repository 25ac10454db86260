"""A LangChain retriever over a collection or table that is ranked by energy."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr

from energy_langchain.compressor import SCORE
from energy_plugin.candidates import Finder


class EnergyRetriever(BaseRetriever):
    """Find documents by energy distance, without a LangChain vector store.

    Parameters
    ----------
    host : EnergyCollection, EnergyTable or an object with the methods of
        `energy_plugin.candidates.Host`
    k : int, default 4
        Documents to return.
    where : optional
        Filter of the host, applied before ranking: a dict for Chroma, SQL for LanceDB.
    embeddings : Embeddings, optional
        The embeddings that made the host's vectors, if the host has no embedding function.
    hybrid : bool, default False
        Search by words too: a Chroma collection built with ``lexical=True``, or a LanceDB table
        with a full-text index.
    lexical_weight : float, optional
        Share of the words in a hybrid search, 0 to 1; by default, the host's own.
    min_relevance : float, optional
        Leave out documents with a smaller relevance, 0 to 1; an empty result means "nothing
        found".
    id_column, text_column : str
        LanceDB's columns of ids and texts; its other columns become metadata.

    Notes
    -----
    ``metadata["relevance_score"]`` is the negative energy distance, ``metadata["relevance"]`` is
    the host's relevance of the document, 0 to 1.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    host: Any
    k: int = Field(default=4, ge=1)
    where: Any = None
    embeddings: Embeddings | None = None
    hybrid: bool = False
    lexical_weight: float | None = Field(default=None, ge=0, le=1)
    min_relevance: float | None = Field(default=None, ge=0, le=1)
    id_column: str = "id"
    text_column: str = "text"
    _finder: Finder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the host once."""
        self._finder = Finder(
            self.host,
            hybrid=self.hybrid,
            lexical_weight=self.lexical_weight,
            min_relevance=self.min_relevance,
            id_column=self.id_column,
            text_column=self.text_column,
        )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        vector = None if self.embeddings is None else self.embeddings.embed_query(query)
        return self._found(query, vector)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        vector = None if self.embeddings is None else await self.embeddings.aembed_query(query)
        return await run_in_executor(None, self._found, query, vector)

    def _found(self, query: str, vector: Any) -> list[Document]:
        hits = self._finder.find(query, self.k, self.where, vector=vector)
        return [
            Document(
                page_content=hit.text,
                metadata={**hit.described, SCORE: -hit.distance},
                id=hit.id,
            )
            for hit in hits
        ]
