"""Age to fidelity: what a collection forgets, when, and how many bytes that saves.

Pure arithmetic over arrays. The hosts apply a plan: they drop bit planes with
`EnergyIndex.lower` and write the columns back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_plugin.forgetting.ages import ages_in_days as ages_in_days
    from energy_plugin.forgetting.plan import ForgettingPlan as ForgettingPlan
    from energy_plugin.forgetting.schedule import Schedule as Schedule
    from energy_plugin.forgetting.step import Step as Step
    from energy_plugin.forgetting.strength import Strength as Strength

_HOMES = {
    "ForgettingPlan": "plan",
    "Schedule": "schedule",
    "Step": "step",
    "Strength": "strength",
    "ages_in_days": "ages",
}

__all__ = ["ForgettingPlan", "Schedule", "Step", "Strength", "ages_in_days"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
