"""Energy ranking and optical embeddings for LanceDB.

Importing the package registers the embedding function ``energy-optical``, which a table that
was created with it needs in every process that adds rows or searches by text.
"""

from __future__ import annotations

from energy_plugin._lazy import optional

optional("lancedb", "lancedb")

from energy_lancedb.aio import AsyncEnergyQuery, AsyncEnergyTable  # noqa: E402
from energy_lancedb.embedding import OpticalEmbeddingFunction, optical  # noqa: E402
from energy_lancedb.query import EnergyQuery  # noqa: E402
from energy_lancedb.reranker import EnergyReranker  # noqa: E402
from energy_lancedb.table import EnergyTable  # noqa: E402
from energy_plugin.stored import Changes, FieldInfo, Finding, RepairReport  # noqa: E402

__all__ = [
    "AsyncEnergyQuery",
    "AsyncEnergyTable",
    "Changes",
    "EnergyQuery",
    "EnergyReranker",
    "EnergyTable",
    "FieldInfo",
    "Finding",
    "OpticalEmbeddingFunction",
    "RepairReport",
    "optical",
]
