"""Energy ranking and optical embeddings for Chroma.

Importing the package registers `OpticalEmbeddingFunction` with Chroma, so that collections
made with it embed again in a process that imports nothing else of this project.
"""

from __future__ import annotations

from energy_plugin._lazy import optional

optional("chromadb", "chroma")

from energy_chroma.asynchronous import AsyncEnergyCollection, AsyncEnergyReranker  # noqa: E402
from energy_chroma.collection import EnergyCollection  # noqa: E402
from energy_chroma.embedding import OpticalEmbeddingFunction  # noqa: E402
from energy_chroma.reembedding import recover  # noqa: E402
from energy_chroma.reranker import EnergyReranker  # noqa: E402
from energy_plugin.stored import Changes, FieldInfo, Finding, RepairReport  # noqa: E402

__all__ = [
    "AsyncEnergyCollection",
    "AsyncEnergyReranker",
    "Changes",
    "EnergyCollection",
    "EnergyReranker",
    "FieldInfo",
    "Finding",
    "OpticalEmbeddingFunction",
    "RepairReport",
    "recover",
]
