"""Energy ranking and optical embeddings for LanceDB.

Importing the package registers the embedding function ``energy-optical``, which a table that
was created with it needs in every process that adds rows or searches by text.
"""

from __future__ import annotations

from energy_lancedb.embedding import OpticalEmbeddingFunction, optical
from energy_lancedb.info import EnergyInfo
from energy_lancedb.query import EnergyQuery
from energy_lancedb.reranker import EnergyReranker
from energy_lancedb.table import EnergyTable

__all__ = [
    "EnergyInfo",
    "EnergyQuery",
    "EnergyReranker",
    "EnergyTable",
    "OpticalEmbeddingFunction",
    "optical",
]
