"""λ, dispersion and cell as metadata of the rows: what users see and filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from energy_chroma.host import PAGE, ChromaHost
from energy_plugin.energy import EnergyColumns
from energy_plugin.energy.columns import NO_CELL
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.moments import Moment, reached

LAMBDA = "energy_lambda"
DISPERSION = "energy_dispersion"
CELL = "energy_cell"
KEYS = (LAMBDA, DISPERSION, CELL)
# Rows that have the keys; $ne would also find those that lack them.
_SHOWN = {CELL: {"$gte": NO_CELL}}
_ALL_SHOWN = {"$and": [{LAMBDA: {"$gte": 0.0}}, {DISPERSION: {"$gte": 0.0}}, _SHOWN]}


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


def refuse_foreign(host: ChromaHost) -> None:
    """Refuse to write over metadata of the user's that have the names of the keys.

    Looked at are the first page of rows and a row for each key that holds a number. All three
    keys with numbers are the plugin's: rows that were copied from another collection have them.

    Raises
    ------
    InvalidInputError
        A row has some of the keys, or other values there.
    """
    pages: list[Any] = [host.collection.get(limit=PAGE, include=["metadatas"])]
    for key in KEYS:
        number: Any = {key: {"$gte": -1e300}}
        pages.append(host.collection.get(where=number, limit=1, include=["metadatas"]))
    for page in pages:
        for name, metadata in zip(page["ids"], page["metadatas"], strict=True):
            own = {key: metadata[key] for key in KEYS if metadata and key in metadata}
            numbers = [value for value in own.values() if type(value) in (int, float)]
            if own and len(numbers) < len(KEYS):
                raise InvalidInputError(
                    f"Row {name!r} of {host.collection.name!r} already has metadata under "
                    f"names of the energy columns: {own}. They would be overwritten. Rename "
                    "them, or do not write row metadata: build(row_columns=False)."
                )


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
        reached(Moment.WRITING)
        host.collection.update(ids=list(ids[part]), metadatas=keys)
    reached(Moment.SHOWN)


def missing(host: ChromaHost, ids: Sequence[str]) -> list[str]:
    """Those of the ids whose rows lack the keys."""
    present = set(host.ids(where=_SHOWN))
    return [name for name in ids if name not in present]


def clear(host: ChromaHost, *, show_progress_bar: bool = False) -> None:
    """Remove the keys from every row that has all three."""
    ids = host.ids(where=_ALL_SHOWN)
    step = min(PAGE, host.max_batch)
    empty = {LAMBDA: None, DISPERSION: None, CELL: None}
    for start in tqdm(range(0, len(ids), step), desc="Row columns", disable=not show_progress_bar):
        part = ids[start : start + step]
        gone: list[Any] = [dict(empty) for _ in part]
        reached(Moment.WRITING)
        host.collection.update(ids=part, metadatas=gone)
