"""The field of a Chroma collection: fitted, read from Chroma, written to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from chromadb.errors import InternalError

from energy_chroma.chunks import pack_all, unpack_all
from energy_chroma.host import PAGE, ChromaHost
from energy_chroma.pointer import Pointer, embedder_of, identity_text
from energy_chroma.store import FieldStore
from energy_plugin.energy.config import as_config
from energy_plugin.errors import ForeignFieldError, HostWriteError
from energy_plugin.stored import Changes
from energy_plugin.stored.fitting import Costs, fitted
from energy_plugin.stored.live import LiveField
from energy_plugin.stored.rows import RowMap
from energy_plugin.validation import as_memory_limit

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

ChromaField: TypeAlias = LiveField[ChromaHost, Pointer]
# A page's floats are handed over as Python's numbers; the bytes are measured.
COSTS = Costs(page=PAGE, page_copies=20, host_bytes=16 << 20, copies=6, id_bytes=300)


def fit(
    host: ChromaHost,
    config: EnergyConfig | None,
    *,
    row_columns: bool,
    show_progress_bar: bool,
    device: str | None,
    memory_limit: int | str | None = None,
) -> ChromaField:
    """Fit a field to all rows of the collection; writes nothing.

    Raises
    ------
    InvalidInputError
        The collection is empty, or the limit is too small.
    """
    index, rows = fitted(
        host,
        as_config(config),
        costs=COSTS,
        memory_limit=as_memory_limit(memory_limit),
        device=device,
        show_progress_bar=show_progress_bar,
    )
    pointer = _new_pointer(host, index.field.dim, row_columns=row_columns)
    return LiveField(host, index, rows, pointer)


def _new_pointer(host: ChromaHost, dim: int, *, row_columns: bool) -> Pointer:
    return Pointer(
        of=str(host.collection.id),
        dim=dim,
        embedder=identity_text(host.embedder()),
        row_columns=row_columns,
    )


def load(host: ChromaHost, store: FieldStore, device: str | None) -> ChromaField:
    """Read the stored field and catch up with rows added and deleted since.

    Raises
    ------
    NotBuiltError
        There is no field.
    CorruptFieldError
        Its bytes are altered or of an unknown format.
    ForeignFieldError
        It belongs to another collection, embedder or dimension.
    """
    from energy_plugin.energy import EnergyField, EnergyIndex

    pointer, blob, chunks = store.read()
    _check_owner(host, pointer)
    field = EnergyField.from_bytes(blob)
    if field.dim != pointer.dim:
        raise ForeignFieldError(
            f"The stored field has {field.dim} dimensions, its pointer says {pointer.dim}. "
            "Call build() again."
        )
    ids, columns, prints = unpack_all(chunks, field.dim)
    index = EnergyIndex.from_columns(field, columns, device=device)
    live = LiveField(host, index, RowMap(ids, prints), pointer)
    live.catch_up()
    return live


def publish(live: ChromaField, store: FieldStore) -> None:
    """Publish everything as a new generation.

    Raises
    ------
    HostWriteError
        Chroma could not write, as on a full disk; the former field stays.
    """
    rows = live.index.rows
    ids = live.rows.names(rows.tolist())
    prints = live.rows.fingerprints(rows)
    columns = live.index.columns

    def chunks() -> Iterator[bytes]:
        return pack_all(ids, columns, prints)

    try:
        live.pointer = live.host.patience.call(
            lambda: store.publish(live.pointer, live.index.field.to_bytes(), chunks)
        )
    except InternalError as error:
        raise HostWriteError(
            f"Chroma could not store the energy field of {live.host.collection.name!r} "
            f"({error}). The former field, if there was one, stays. Look whether the disk is "
            "full or the folder read-only, then call again."
        ) from error
    live.pending = Changes()


def _check_owner(host: ChromaHost, pointer: Pointer) -> None:
    name = host.collection.name
    if pointer.of != str(host.collection.id):
        raise ForeignFieldError(
            f"The energy field in {host.companion_name!r} belongs to collection {pointer.of}, "
            f"not to {name!r} ({host.collection.id}). Call build() to replace it."
        )
    built, now = embedder_of(pointer), host.embedder()
    if built is not None and now is not None and built != now:
        raise ForeignFieldError(
            f"The energy field of {name!r} was built on vectors of {_brief(built)}, the "
            f"collection is opened with {_brief(now)}. Open it with the former embedding "
            "function; or, if the rows were embedded again, call build()."
        )
    _, first = host.vectors(host.first())
    if len(first) and first.shape[1] != pointer.dim:
        raise ForeignFieldError(
            f"Rows of {name!r} have {first.shape[1]} dimensions, its energy field has "
            f"{pointer.dim}. Call build() again."
        )


def _brief(identity: dict[str, Any]) -> str:
    return f"{identity['name']} {json.dumps(identity['config'], sort_keys=True)}"
