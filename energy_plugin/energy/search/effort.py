"""How much work a search is, which says how many threads it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from energy_plugin.energy.field import EnergyField

SKETCHED = 0.5  # what a row costs of which only the sketch is scored


def multiply_adds(field: EnergyField, queries: int, rows: int) -> float:
    """Multiply-adds of a search that may find so many rows, at most."""
    scored = rows if rows <= field.config.exhaustive_rows else SKETCHED * rows
    return float(queries) * field.dim * (field.dim + field.n_anchors + scored)
