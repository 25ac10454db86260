"""What changed since the last report: documents that came, went, or have other texts."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

from energy_plugin.library.memory import keep, recall
from energy_plugin.library.stores.store import Content, Store

_NOTE = "report"
_MOST = 50_000  # documents that are noted one by one


@dataclass(frozen=True)
class Snapshot:
    """A collection at one moment.

    Attributes
    ----------
    at : str
        ISO 8601.
    rows : int
    documents : dict of str to str
        Hash of the texts of each file, or of each row that no file stands for.
    """

    at: str
    rows: int
    documents: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """Two snapshots compared; names of documents, sorted."""

    since: str
    rows_before: int
    added: list[str]
    removed: list[str]
    changed: list[str]


def snapshot(rows: Content, at: str) -> Snapshot:
    """Describe what a store holds now."""
    digests: dict[str, Any] = {}
    for name, source, text in zip(rows.ids, rows.sources, rows.texts, strict=True):
        known = digests.setdefault(source or name, hashlib.blake2b(digest_size=6))
        known.update(text.encode("utf-8", "surrogatepass") + b"\0")
    hashed = {name: digest.hexdigest() for name, digest in digests.items()}
    return Snapshot(at, len(rows.ids), hashed if len(hashed) <= _MOST else {})


def changes(store: Store, now: Snapshot) -> Changes | None:
    """Compare with the last report; None where there was none."""
    noted = recall(store.path, store.name, _NOTE, lasting=True)
    try:
        then = Snapshot(**noted) if isinstance(noted, dict) else None
    except TypeError:  # of another release
        then = None
    if then is None or not isinstance(then.documents, dict):
        return None
    old, new = then.documents, now.documents
    if not old or not new:  # too many to note one by one
        old = new = {}
    both = old.keys() & new.keys()
    return Changes(
        since=str(then.at),
        rows_before=int(then.rows),
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in both if old[name] != new[name]),
    )


def note(store: Store, now: Snapshot) -> None:
    """Remember the snapshot for the next report."""
    keep(store.path, store.name, _NOTE, asdict(now))
