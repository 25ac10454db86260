"""Energy as a LlamaIndex node postprocessor, that is a reranker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field, PrivateAttr

from energy_plugin.candidates import CandidateRanker, Candidates, keys_of, lexical_scores
from energy_plugin.errors import InvalidInputError


class EnergyPostprocessor(BaseNodePostprocessor):
    """Order retrieved nodes by energy distance and keep the best.

    The vector of a node is its `embedding`, else the host's under its `node_id`, else its text
    is embedded as LlamaIndex embeds it. The question's vector is that of the query bundle, else
    `embed_model` makes it, else the host's embedding function.

    Parameters
    ----------
    host : object, optional
        An `EnergyCollection` or `EnergyTable`, whose field ranks; a plain Chroma collection or
        LanceDB table, which supplies vectors; or an object with the methods of
        `energy_plugin.candidates.Host`.
    embed_model : BaseEmbedding, optional
        The model that made the host's vectors.
    energy_field : EnergyField, optional
        Used instead of the host's field. Without any field, the ranking uses only the candidates.
    top_n : int, optional
        Nodes to keep; all by default.
    lexical_key : str, optional
        Place of a node's score by words, for example from a BM25 retriever: "score" is the node's
        own score, anything else a metadata key, which at least one node must have. The scores are
        part of the ranking; a node without a score has no matching word.
    lexical_weight : float, optional
        Share of the words, 0 to 1; the default is a medium value.
    id_column : str, default "id"
        LanceDB's column of ids.
    device : str, optional

    Notes
    -----
    The score of a node becomes the negative energy distance. The input nodes are not changed.
    """

    host: Any = Field(default=None, exclude=True)
    embed_model: BaseEmbedding | None = Field(default=None, exclude=True)
    energy_field: Any = Field(default=None, exclude=True)
    top_n: int | None = Field(default=None, ge=1)
    lexical_key: str | None = None
    lexical_weight: float | None = Field(default=None, ge=0, le=1)
    id_column: str = "id"
    device: str | None = None
    _ranker: CandidateRanker = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the host once."""
        super().model_post_init(context)
        self._ranker = CandidateRanker(
            self.host, field=self.energy_field, id_column=self.id_column, device=self.device
        )

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises it."""
        return "EnergyPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        bundle = _asked(query_bundle)
        if not nodes:
            return []
        with self._event(nodes, bundle) as done:
            query: Any = bundle.embedding
            if query is None:
                model = self.embed_model
                embed = None if model is None else model.get_query_embedding
                query = self._ranker.embed_query(bundle.query_str, embed)
            candidates = self._candidates(nodes)
            if candidates.missing and self.embed_model is not None:
                texts = [candidates.texts[at] for at in candidates.missing]
                vectors = self.embed_model.get_text_embedding_batch(texts)
                candidates = candidates.embedded(vectors)
            done.extend(self._ordered(nodes, query, candidates))
        return done

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        bundle = _asked(query_bundle)
        if not nodes:
            return []
        with self._event(nodes, bundle) as done:
            query: Any = bundle.embedding
            if query is None and self.embed_model is not None:
                query = await self.embed_model.aget_query_embedding(bundle.query_str)
            elif query is None:
                query = await asyncio.to_thread(self._ranker.embed_query, bundle.query_str)
            candidates = await asyncio.to_thread(self._candidates, nodes)
            if candidates.missing and self.embed_model is not None:
                texts = [candidates.texts[at] for at in candidates.missing]
                vectors = await self.embed_model.aget_text_embedding_batch(texts)
                candidates = candidates.embedded(vectors)
            done.extend(await asyncio.to_thread(self._ordered, nodes, query, candidates))
        return done

    @contextmanager
    def _event(
        self, nodes: list[NodeWithScore], bundle: QueryBundle
    ) -> Iterator[list[NodeWithScore]]:
        """Report the step as LlamaIndex's own rerankers do; the result goes into the list."""
        done: list[NodeWithScore] = []
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: "energy",
            EventPayload.QUERY_STR: bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield done
            event.on_end(payload={EventPayload.NODES: done})

    def _candidates(self, nodes: list[NodeWithScore]) -> Candidates:
        return self._ranker.candidates(
            [each.node.node_id for each in nodes],
            [each.node.get_content(metadata_mode=MetadataMode.EMBED) for each in nodes],
            [each.node.embedding for each in nodes],
        )

    def _ordered(
        self, nodes: list[NodeWithScore], query: Any, candidates: Candidates
    ) -> list[NodeWithScore]:
        lexical = None
        if (key := self.lexical_key) is not None:
            if key == "score":
                lexical = lexical_scores([each.score for each in nodes], key)
            else:
                metas = [each.node.metadata for each in nodes]
                lexical = lexical_scores([each.get(key) for each in metas], key, keys_of(metas))
        ranking = self._ranker.order(
            query,
            candidates,
            self.top_n,
            lexical=lexical,
            lexical_weight=self.lexical_weight,
        )
        return [
            NodeWithScore(node=nodes[at].node, score=-float(distance))
            for at, distance in zip(ranking.order, ranking.distances, strict=True)
        ]


def _asked(bundle: QueryBundle | None) -> QueryBundle:
    if bundle is None:
        raise InvalidInputError(
            "Ranking needs the question: pass query_str or query_bundle to postprocess_nodes."
        )
    return bundle
