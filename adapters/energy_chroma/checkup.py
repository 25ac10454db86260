"""The state of a collection's energy field: what it takes, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_chroma import view
from energy_chroma.fields import ChromaField
from energy_chroma.host import ChromaHost
from energy_chroma.pointer import embedder_of
from energy_chroma.store import FieldStore
from energy_plugin.errors import CorruptFieldError
from energy_plugin.stored import FieldInfo, Finding
from energy_plugin.stored.info import described

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig


def describe(field: ChromaField, store: FieldStore) -> FieldInfo:
    """Measure a loaded field and its records."""
    pointer, blob, chunks = store.read()
    return FieldInfo(
        **described(field.index),
        name=field.host.name,
        generation=pointer.generation,
        version=pointer.version,
        layout="companion and metadata" if pointer.row_columns else "companion",
        embedder=None if embedder_of(pointer) is None else pointer.embedder,
        field_bytes=len(blob),
        column_bytes=sum(len(chunk) for chunk in chunks),
        pending=field.pending,
        without_vector=len(field.unreadable),
        chunks=pointer.chunks,
    )


def shown_otherwise(host: ChromaHost, field: ChromaField) -> Iterator[Finding]:
    """Rows whose metadata show other values than their columns."""
    if not field.pointer.row_columns:
        return
    columns = field.columns_of(field.index.rows)
    names = field.rows.names(field.index.rows.tolist())
    truth = dict(zip(names, zip(*_shown(columns), strict=True), strict=True))
    keys = (view.LAMBDA, view.DISPERSION, view.CELL)
    wrong = []
    for page in host.record_pages(["metadatas"]):
        for name, metadata in zip(page["ids"], page["metadatas"], strict=True):
            got = tuple((metadata or {}).get(key) for key in keys)
            if name in truth and not _alike(got, truth[name]):
                wrong.append(name)
    known = set(field.pending.added) | set(field.pending.changed)
    wrong = [name for name in wrong if name not in known]
    if wrong:
        yield Finding(
            "altered",
            f"The energy keys in the metadata of {len(wrong)} rows differ from their columns.",
            "repair()",
            tuple(wrong),
        )


def _shown(columns: Any) -> tuple[list[Any], ...]:
    return columns.lambda_.tolist(), columns.dispersion.tolist(), columns.cell.tolist()


def _alike(got: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    return None not in got and bool(np.allclose(got, expected, rtol=0, atol=1e-6))


def salvage(store: FieldStore) -> tuple[EnergyConfig | None, bool]:
    """Configuration and choice of row columns of a damaged field, as far as they can be read."""
    from energy_plugin.energy import EnergyField

    row_columns = True
    try:
        pointer = store.pointer()
        if pointer is not None:
            row_columns = pointer.row_columns
            return EnergyField.from_bytes(store.field_blob(pointer)).config, row_columns
    except CorruptFieldError:
        pass
    return None, row_columns
