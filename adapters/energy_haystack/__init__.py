"""Energy ranking and optical embeddings for Haystack."""

from __future__ import annotations

from energy_plugin._lazy import optional

optional("haystack", "haystack")

from energy_haystack.embedders import OpticalDocumentEmbedder, OpticalTextEmbedder  # noqa: E402
from energy_haystack.ranker import EnergyRanker  # noqa: E402
from energy_haystack.retriever import EnergyRetriever  # noqa: E402

__all__ = ["EnergyRanker", "EnergyRetriever", "OpticalDocumentEmbedder", "OpticalTextEmbedder"]
