"""Candidates of a retrieval stack: whose vectors they are, and their order by energy.

What the adapters of LangChain, LlamaIndex and Haystack share. Database objects come in through
`Host`; no database library is imported here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.candidates.finder import Finder as Finder
    from energy_plugin.candidates.gather import Candidates as Candidates
    from energy_plugin.candidates.gather import keys_of as keys_of
    from energy_plugin.candidates.gather import lexical_scores as lexical_scores
    from energy_plugin.candidates.hosts import Host as Host
    from energy_plugin.candidates.hosts import HybridHost as HybridHost
    from energy_plugin.candidates.hosts import as_host as as_host
    from energy_plugin.candidates.ranker import CandidateRanker as CandidateRanker
    from energy_plugin.stored.database import Hit as Hit

_HOMES = {
    "CandidateRanker": "ranker",
    "Candidates": "gather",
    "Finder": "finder",
    "Hit": "hosts",
    "Host": "hosts",
    "HybridHost": "hosts",
    "keys_of": "gather",
    "lexical_scores": "gather",
    "as_host": "hosts",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names are literal above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
