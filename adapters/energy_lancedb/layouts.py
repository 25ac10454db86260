"""The two ways of storing the energy columns, by name."""

from __future__ import annotations

from typing import Any

from energy_lancedb.column_layout import ColumnLayout
from energy_lancedb.companion_layout import CompanionLayout
from energy_lancedb.host import Host
from energy_lancedb.layout import Layout


def layout_of(name: str, host: Host) -> Layout:
    """The layout of that name, over a host table."""
    makers: dict[str, Any] = {"columns": ColumnLayout, "companion": CompanionLayout}
    layout: Layout = makers[name](host)
    return layout
