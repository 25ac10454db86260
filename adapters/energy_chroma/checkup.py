"""The state of a collection's energy field: what it takes, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_chroma import view
from energy_chroma.host import ChromaHost
from energy_chroma.live import LiveField
from energy_chroma.staleness import Changes, scan
from energy_chroma.store import FieldStore
from energy_plugin.errors import CorruptFieldError, ForeignFieldError, NotBuiltError

if TYPE_CHECKING:
    from energy_plugin.energy import Drift, EnergyConfig


@dataclass(frozen=True)
class CollectionInfo:
    """See `EnergyCollection.info`."""

    name: str
    rows: int  # live rows of the field
    dim: int
    generation: int  # of the stored field
    chunks: int  # records that hold the rows' columns
    n_anchors: int
    bits: int  # residual bits a dimension of a new row
    field_bytes: int  # artefacts of the field
    row_bytes: int  # columns of all rows, ids included
    row_columns: bool  # λ, G and cell also in the rows' metadata
    embedder: dict[str, Any] | None  # name and configuration of what embedded the rows
    drift: Drift  # how far the rows have moved from the field
    pending: Changes  # rows served from their own vector until refresh()

    @property
    def bytes(self) -> int:
        """Field and columns together, before base64 (a third more in Chroma)."""
        return self.field_bytes + self.row_bytes


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    kind : {"missing", "corrupt", "foreign", "stale", "view", "leftover"}
        No field; records that cannot be read; a field of other rows or another embedder; rows
        whose columns are of another vector; metadata that shows other values than the columns;
        records of a crashed write.
    message : str
        What is wrong.
    remedy : str
        What mends it; ``repair()`` does it.
    ids : tuple of str
        Rows or records that are concerned.
    """

    kind: str
    message: str
    remedy: str
    ids: tuple[str, ...] = ()


def describe(field: LiveField, store: FieldStore) -> CollectionInfo:
    """Measure a loaded field and its records."""
    from energy_chroma.pointer import embedder_of

    pointer, blob, chunks = store.read()
    return CollectionInfo(
        name=str(field.host.collection.name),
        rows=len(field),
        dim=field.dim,
        generation=pointer.generation,
        chunks=pointer.chunks,
        n_anchors=field.index.field.n_anchors,
        bits=field.index.field.config.bits,
        field_bytes=len(blob),
        row_bytes=sum(len(chunk) for chunk in chunks),
        row_columns=pointer.row_columns,
        embedder=embedder_of(pointer),
        drift=field.index.drift(),
        pending=field.pending,
    )


def examine(host: ChromaHost, store: FieldStore, device: str | None) -> list[Finding]:
    """Everything that is wrong, worst first."""
    try:
        field = LiveField.load(host, store, device)
    except NotBuiltError as error:
        return [Finding("missing", str(error), "build()")]
    except CorruptFieldError as error:
        return [Finding("corrupt", str(error), "build()")]
    except ForeignFieldError as error:
        return [Finding("foreign", str(error), "open with the former embedder, or build()")]
    return [*_stale(host, field), *_view(host, field), *_leftovers(store)]


def _stale(host: ChromaHost, field: LiveField) -> Iterator[Finding]:
    changes = field.pending | scan(host, field.rows)
    for what, ids in (
        ("have no energy columns", changes.added),
        ("have columns and are gone", changes.removed),
        ("have columns of another vector", changes.changed),
    ):
        if ids:
            yield Finding("stale", f"{len(ids)} rows {what}.", "refresh()", ids)


def _view(host: ChromaHost, field: LiveField) -> Iterator[Finding]:
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
            "view",
            f"The energy keys in the metadata of {len(wrong)} rows differ from their columns.",
            "repair()",
            tuple(wrong),
        )


def _shown(columns: Any) -> tuple[list[Any], ...]:
    return columns.lambda_.tolist(), columns.dispersion.tolist(), columns.cell.tolist()


def _alike(got: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    return None not in got and bool(np.allclose(got, expected, rtol=0, atol=1e-6))


def _leftovers(store: FieldStore) -> Iterator[Finding]:
    records = store.leftovers()
    if records:
        yield Finding(
            "leftover",
            f"{len(records)} records of a write that was cut short.",
            "the next write, or repair()",
            tuple(records),
        )


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
