"""Looking around without a question: related rows, paths, near-duplicates, the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from energy_plugin.errors import EnergyPluginError
from energy_plugin.mcp.finding import texts_of

if TYPE_CHECKING:
    from energy_plugin.mcp.shelf import Shelf

_SHOWN = 20  # rows of a group of near-duplicates that are listed


def related(shelf: Shelf, row: str, k: int, to: str | None) -> dict[str, Any]:
    """Rows nearest to a row; with another one, the shortest way between the two."""
    index, ids = shelf.index()
    if to is not None:
        way = index.row_graph().path(shelf.row(row), shelf.row(to))
        names = [ids[number] for number in way]
        known = texts_of(shelf, names)
        found: dict[str, Any] = {"path": [known.get(name, {"id": name}) for name in names]}
        return found if names else {**found, "remark": "No way leads from one to the other."}
    near = index.neighbours(shelf.row(row), k)
    names = [ids[number] for number in near.ids.tolist()]
    known = texts_of(shelf, names)
    pairs = zip(names, near.distances.tolist(), strict=True)
    return {
        "related": [{**known.get(n, {"id": n}), "distance": round(d, 4)} for n, d in pairs],
    }


def duplicates(shelf: Shelf, threshold: float | None, limit: int) -> dict[str, Any]:
    """Groups of near-copies, the largest first."""
    index, ids = shelf.index()
    groups = index.duplicates() if threshold is None else index.duplicates(threshold)
    named = [[ids[number] for number in group.tolist()] for group in groups]
    first = [names[:_SHOWN] for names in named[:limit]]
    known = texts_of(shelf, [name for names in first for name in names])
    return {
        "groups": len(named),
        "rows": sum(map(len, named)),
        "shown": [
            {"rows": len(whole), "members": [known.get(name, {"id": name}) for name in names]}
            for whole, names in zip(named, first, strict=False)
        ],
    }


def status(shelf: Shelf, *, check: bool) -> dict[str, Any]:
    """What the store holds; with `check`, damage too."""
    store = shelf.store
    found: dict[str, Any] = {"host": store.host, "name": store.name, "rows": store.count()}
    if found["rows"]:
        try:
            found |= store.describe()
            found["words_indexed"] = store.has_words
            found["default_ranking"] = shelf.ranking(None)
        except EnergyPluginError as error:
            found["trouble"] = " ".join(str(error).split())
        if check:
            found["findings"] = store.findings()
    return found
