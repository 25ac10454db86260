"""Energy ranking and optical embeddings for LangChain."""

from __future__ import annotations

from energy_plugin._lazy import optional

optional("langchain_core", "langchain")

from energy_langchain.compressor import EnergyCompressor  # noqa: E402
from energy_langchain.embeddings import OpticalEmbeddings  # noqa: E402
from energy_langchain.retriever import EnergyRetriever  # noqa: E402

__all__ = ["EnergyCompressor", "EnergyRetriever", "OpticalEmbeddings"]
