"""The optical encoder as a LlamaIndex embedding."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder


class OpticalEmbedding(BaseEmbedding):
    """Embed texts by typesetting them and reading the page image.

    Nothing is loaded before the first text; the process shares one model.

    Parameters
    ----------
    model_name : str, default "compact"
        A bundled encoder, or the folder or hub name of another one.
    embed_batch_size : int, default 64
        Texts in one step of the encoder.
    truncate_dim : int, optional
        Keep only the first dimensions, at unit length again.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.
    """

    model_name: str = Field(default="compact", description="Name or folder of the encoder.")
    embed_batch_size: int = Field(default=64, gt=0, le=2048)
    truncate_dim: int | None = Field(default=None, ge=1)
    device: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex serialises it."""
        return "OpticalEmbedding"

    def _encoder(self) -> BaseEncoder:
        from energy_plugin.optical import load_encoder

        return load_encoder(self.model_name, self.device)

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = (
            self._encoder().encode_query(query, truncate_dim=self.truncate_dim).tolist()
        )
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = (
            self._encoder()
            .encode_document(
                texts, batch_size=self.embed_batch_size, truncate_dim=self.truncate_dim
            )
            .tolist()
        )
        return vectors

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
