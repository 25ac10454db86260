"""Optical embeddings and energy ranking for Chroma and LanceDB.

Importing the package costs numpy at most: torch, pillow and the hosts are
imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns as EnergyColumns
    from energy_plugin.energy import EnergyConfig as EnergyConfig
    from energy_plugin.energy import EnergyField as EnergyField
    from energy_plugin.energy import EnergyIndex as EnergyIndex
    from energy_plugin.energy import SearchResult as SearchResult
    from energy_plugin.errors import EnergyPluginError as EnergyPluginError
    from energy_plugin.optical import OpticalEncoder as OpticalEncoder
    from energy_plugin.threads import get_threads as get_threads
    from energy_plugin.threads import set_threads as set_threads

_HOMES = {
    "EnergyColumns": "energy_plugin.energy",
    "EnergyConfig": "energy_plugin.energy",
    "EnergyField": "energy_plugin.energy",
    "EnergyIndex": "energy_plugin.energy",
    "EnergyPluginError": "energy_plugin.errors",
    "OpticalEncoder": "energy_plugin.optical",
    "SearchResult": "energy_plugin.energy",
    "get_threads": "energy_plugin.threads",
    "set_threads": "energy_plugin.threads",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - the names are literal above


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
