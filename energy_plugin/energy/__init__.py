"""Vectors → energy field: anchors, graph, heat flow, taumode, residual codes, distance, index."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.energy.columns import EnergyColumns as EnergyColumns
    from energy_plugin.energy.config import EnergyConfig as EnergyConfig
    from energy_plugin.energy.explore.rowgraph import RowGraph as RowGraph
    from energy_plugin.energy.explore.similar import Neighbours as Neighbours
    from energy_plugin.energy.field import EnergyField as EnergyField
    from energy_plugin.energy.index import EnergyIndex as EnergyIndex
    from energy_plugin.energy.rerank import EnergyReranker as EnergyReranker
    from energy_plugin.energy.rerank import Reranking as Reranking
    from energy_plugin.energy.result import EnergyTerms as EnergyTerms
    from energy_plugin.energy.result import SearchResult as SearchResult
    from energy_plugin.energy.result import SearchWork as SearchWork
    from energy_plugin.energy.upkeep.maintenance import Drift as Drift
    from energy_plugin.energy.upkeep.maintenance import Maintenance as Maintenance

# The numerics import torch, so that names are resolved when they are first used.
_HOMES = {
    "Drift": "upkeep.maintenance",
    "EnergyColumns": "columns",
    "EnergyConfig": "config",
    "EnergyField": "field",
    "EnergyIndex": "index",
    "EnergyReranker": "rerank",
    "EnergyTerms": "result",
    "Neighbours": "explore.similar",
    "RowGraph": "explore.rowgraph",
    "Reranking": "rerank",
    "Maintenance": "upkeep.maintenance",
    "SearchResult": "result",
    "SearchWork": "result",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names are literal above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
