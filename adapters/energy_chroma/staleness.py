"""What changed in the host since the energy columns were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_chroma.host import ChromaHost
from energy_chroma.rows import RowMap
from energy_plugin.energy.upkeep.fingerprint import fingerprint


@dataclass(frozen=True)
class Changes:
    """Rows that differ between the host and the energy columns.

    Parameters
    ----------
    added, removed, changed : tuple of str
        Ids that are new in the host, gone from it, or have another vector.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)

    def __or__(self, later: Changes) -> Changes:
        """Both, one after the other: a row added and then removed did not change."""
        kinds = dict.fromkeys(self.added, "added")
        kinds |= dict.fromkeys(self.removed, "removed")
        kinds |= dict.fromkeys(self.changed, "changed")
        for name in later.added:
            kinds[name] = "changed" if kinds.get(name) in ("removed", "changed") else "added"
        for name in later.changed:
            kinds[name] = "added" if kinds.get(name) == "added" else "changed"
        for name in later.removed:
            if kinds.get(name) == "added":
                del kinds[name]
            else:
                kinds[name] = "removed"
        return _grouped(kinds)

    def without(self, ids: Iterable[str]) -> Changes:
        """Those of other rows."""
        settled = set(ids)
        return Changes(
            tuple(name for name in self.added if name not in settled),
            tuple(name for name in self.removed if name not in settled),
            tuple(name for name in self.changed if name not in settled),
        )


def by_ids(rows: RowMap, present: Iterable[str]) -> Changes:
    """Compare with all ids of the host."""
    present = list(present)
    there = set(present)
    if rows.are(there):
        return Changes()
    return Changes(
        added=tuple(name for name in present if name not in rows),
        removed=tuple(name for name in rows.ids if name not in there),
    )


def by_vectors(rows: RowMap, vectors: Mapping[str, NDArray[np.float32]]) -> Changes:
    """Compare with some rows' vectors: unknown ids, and fingerprints that differ."""
    if not vectors:
        return Changes()
    prints = fingerprint(np.stack(list(vectors.values())))
    added, changed = rows.changed(list(vectors), prints)
    return Changes(added=tuple(added), changed=tuple(changed))


def scan(host: ChromaHost, rows: RowMap) -> Changes:
    """Compare with all ids and all vectors of the host, a page at a time."""
    changes, present = Changes(), []
    for ids, vectors in host.pages():
        present.extend(ids)
        page = by_vectors(rows, dict(zip(ids, vectors, strict=True)))
        changes = Changes(changes.added + page.added, (), changes.changed + page.changed)
    return changes | by_ids(rows, present)


def _grouped(kinds: Mapping[str, str]) -> Changes:
    return Changes(
        tuple(name for name, kind in kinds.items() if kind == "added"),
        tuple(name for name, kind in kinds.items() if kind == "removed"),
        tuple(name for name, kind in kinds.items() if kind == "changed"),
    )
