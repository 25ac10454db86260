"""λ, dispersion and cell as metadata of the rows: what users see and filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from energy_chroma.host import PAGE, ChromaHost
from energy_plugin.energy import EnergyColumns
from energy_plugin.energy.columns import NO_CELL

LAMBDA = "energy_lambda"
DISPERSION = "energy_dispersion"
CELL = "energy_cell"
# Rows that have the keys; $ne would also find those that lack them.
_SHOWN = {CELL: {"$gte": NO_CELL}}


def values(columns: EnergyColumns) -> list[dict[str, Any]]:
    """One metadata dictionary per row, of plain Python numbers."""
    return [
        {LAMBDA: lambda_, DISPERSION: dispersion, CELL: cell}
        for lambda_, dispersion, cell in zip(
            columns.lambda_.tolist(),
            columns.dispersion.tolist(),
            columns.cell.tolist(),
            strict=True,
        )
    ]


def merged(
    metadatas: Sequence[dict[str, Any] | None] | None, columns: EnergyColumns
) -> list[dict[str, Any]]:
    """The user's metadata with the energy keys added."""
    added = values(columns)
    given = [None] * len(added) if metadatas is None else list(metadatas)
    return [{**(own or {}), **energy} for own, energy in zip(given, added, strict=True)]


def write(
    host: ChromaHost,
    ids: Sequence[str],
    columns: EnergyColumns,
    *,
    show_progress_bar: bool = False,
) -> None:
    """Write the keys of the given rows; Chroma merges them into what the rows hold."""
    step = min(PAGE, host.max_batch)
    starts = range(0, len(ids), step)
    for start in tqdm(starts, desc="Row columns", disable=not show_progress_bar):
        part = slice(start, start + step)
        keys: list[Any] = values(columns.take(part))
        host.collection.update(ids=list(ids[part]), metadatas=keys)


def missing(host: ChromaHost, ids: Sequence[str]) -> list[str]:
    """Those of the ids whose rows lack the keys."""
    present = set(host.ids(where=_SHOWN))
    return [name for name in ids if name not in present]


def clear(host: ChromaHost, *, show_progress_bar: bool = False) -> None:
    """Remove the keys from every row that has them."""
    ids = host.ids(where=_SHOWN)
    step = min(PAGE, host.max_batch)
    empty = {LAMBDA: None, DISPERSION: None, CELL: None}
    for start in tqdm(range(0, len(ids), step), desc="Row columns", disable=not show_progress_bar):
        part = ids[start : start + step]
        gone: list[Any] = [dict(empty) for _ in part]
        host.collection.update(ids=part, metadatas=gone)
