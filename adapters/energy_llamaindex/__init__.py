"""Energy ranking and optical embeddings for LlamaIndex."""

from __future__ import annotations

from energy_plugin._lazy import optional

optional("llama_index.core", "llamaindex")

from energy_llamaindex.embedding import OpticalEmbedding  # noqa: E402
from energy_llamaindex.postprocessor import EnergyPostprocessor  # noqa: E402
from energy_llamaindex.retriever import EnergyRetriever  # noqa: E402

__all__ = ["EnergyPostprocessor", "EnergyRetriever", "OpticalEmbedding"]
