"""A LlamaIndex retriever over a collection or table that is ranked by energy."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from energy_plugin.candidates import Finder
from energy_plugin.validation import as_k


class EnergyRetriever(BaseRetriever):
    """Find nodes by energy distance, without a LlamaIndex vector store.

    The question's vector is that of the query bundle, else `embed_model` makes it, else the host's
    embedding function.

    Parameters
    ----------
    host : EnergyCollection, EnergyTable or an object with the methods of
        `energy_plugin.candidates.Host`
    similarity_top_k : int, default 10
        Nodes to return.
    where : optional
        Filter of the host, applied before ranking: a dict for Chroma, SQL for LanceDB.
    embed_model : BaseEmbedding, optional
        The model that made the host's vectors, if the host has no embedding function.
    hybrid : bool, default False
        Search by words too: a Chroma collection built with ``lexical=True``, or a LanceDB table
        with a full-text index.
    lexical_weight : float, optional
        Share of the words in a hybrid search, 0 to 1; by default, the host's own.
    min_relevance : float, optional
        Leave out nodes with a smaller relevance, 0 to 1; an empty result means "nothing found".
    id_column, text_column : str
        LanceDB's columns of ids and texts; its other columns become metadata.
    callback_manager : CallbackManager, optional

    Notes
    -----
    The score of a node is the negative energy distance; ``metadata["relevance"]`` is the host's
    relevance of the node, 0 to 1; it is not shown to models.

    Raises
    ------
    InvalidInputError
        `host` is none of these or does not search by words, or a number is out of range.
    """

    def __init__(
        self,
        host: Any,
        *,
        similarity_top_k: int = 10,
        where: Any = None,
        embed_model: BaseEmbedding | None = None,
        hybrid: bool = False,
        lexical_weight: float | None = None,
        min_relevance: float | None = None,
        id_column: str = "id",
        text_column: str = "text",
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self.similarity_top_k = as_k(similarity_top_k, name="similarity_top_k")
        self.where = where
        self._embed_model = embed_model
        self._finder = Finder(
            host,
            hybrid=hybrid,
            lexical_weight=lexical_weight,
            min_relevance=min_relevance,
            id_column=id_column,
            text_column=text_column,
        )

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector: Any = query_bundle.embedding
        if vector is None and self._embed_model is not None:
            vector = self._embed_model.get_query_embedding(query_bundle.query_str)
        return self._found(query_bundle.query_str, vector)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector: Any = query_bundle.embedding
        if vector is None and self._embed_model is not None:
            vector = await self._embed_model.aget_query_embedding(query_bundle.query_str)
        return await asyncio.to_thread(self._found, query_bundle.query_str, vector)

    def _found(self, query: str, vector: Any) -> list[NodeWithScore]:
        found = self._finder.find(query, self.similarity_top_k, self.where, vector=vector)
        nodes = []
        for hit in found:
            named = {} if hit.id is None else {"id_": hit.id}
            node = TextNode(
                text=hit.text,
                metadata=hit.described,
                excluded_embed_metadata_keys=["relevance"],
                excluded_llm_metadata_keys=["relevance"],
                **named,
            )
            nodes.append(NodeWithScore(node=node, score=-hit.distance))
        return nodes
