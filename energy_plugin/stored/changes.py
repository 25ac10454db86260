"""Rows whose stored energy columns are behind the host."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Changes:
    """Rows that differ between the host and the energy columns.

    Parameters
    ----------
    added, removed, changed : tuple of hashable
        Rows that are new in the host, gone from it (or without a vector now), or have another
        vector. Chroma names rows by their ids, LanceDB by ``_rowid``.
    """

    added: tuple[Hashable, ...] = ()
    removed: tuple[Hashable, ...] = ()
    changed: tuple[Hashable, ...] = ()

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

    def without(self, ids: Iterable[Hashable]) -> Changes:
        """Those of other rows."""
        settled = set(ids)
        return Changes(
            tuple(name for name in self.added if name not in settled),
            tuple(name for name in self.removed if name not in settled),
            tuple(name for name in self.changed if name not in settled),
        )


def _grouped(kinds: Mapping[Hashable, str]) -> Changes:
    return Changes(
        tuple(name for name, kind in kinds.items() if kind == "added"),
        tuple(name for name, kind in kinds.items() if kind == "removed"),
        tuple(name for name, kind in kinds.items() if kind == "changed"),
    )
