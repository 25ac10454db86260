"""What changed in a host since the energy columns were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.stored.changes import Changes
from energy_plugin.stored.rows import RowMap

if TYPE_CHECKING:
    from energy_plugin.stored.database import Rows


def by_ids(rows: RowMap, present: Iterable[Any]) -> Changes:
    """Compare with all ids of the host."""
    present = list(present)
    there = set(present)
    if rows.are(there):
        return Changes()
    return Changes(
        added=tuple(name for name in present if name not in rows),
        removed=tuple(name for name in rows.ids if name not in there),
    )


def by_vectors(rows: RowMap, vectors: Mapping[Any, NDArray[np.float32]]) -> Changes:
    """Compare with some rows' vectors: unknown ids, and fingerprints that differ."""
    if not vectors:
        return Changes()
    prints = fingerprint(np.stack(list(vectors.values())))
    added, changed = rows.changed(list(vectors), prints)
    return Changes(added=tuple(added), changed=tuple(changed))


def scan(host: Rows, rows: RowMap) -> Changes:
    """Compare with all ids and all vectors of the host, a page at a time."""
    changes, present = Changes(), []
    for ids, vectors in host.pages():
        present.extend(ids)
        page = by_vectors(rows, dict(zip(ids, vectors, strict=True)))
        changes = Changes(changes.added + page.added, (), changes.changed + page.changed)
    return changes | by_ids(rows, present)
