"""One write: rows and their energy columns go into Chroma together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_chroma import chunks, fields, view
from energy_chroma.fields import ChromaField
from energy_chroma.host import ChromaHost
from energy_chroma.store import FieldStore
from energy_plugin.stored import Changes
from energy_plugin.stored.moments import Moment, reached
from energy_plugin.validation import as_vectors

logger = logging.getLogger(__name__)

# Chunks beyond those of a fresh generation, until a write merges them.
LOOSE_CHUNKS = 128


def write(store: FieldStore, field: ChromaField, verb: str, request: dict[str, Any]) -> bool:
    """``add``, ``upsert`` or ``update`` rows and keep the field in step.

    Nothing is written where the input is refused.

    Parameters
    ----------
    store : FieldStore
    field : ChromaField
    verb : {"add", "upsert", "update"}
    request : dict
        What Chroma prepared from the arguments: ``ids``, ``embeddings``, ``documents``,
        ``metadatas``, ``uris``.

    Returns
    -------
    bool
        False where another process replaced the field meanwhile, so that it must be read again.

    Raises
    ------
    InvalidInputError
        A vector has another dimension or is not finite.
    """
    host = field.host
    names: list[str] = request["ids"]
    vectors = as_vectors(request["embeddings"], dim=field.dim, name="embeddings")
    written = _touched(host, verb, names)
    documents = request["documents"]
    worded = None
    if field.words is not None and documents is not None:
        texts = dict(zip(names, documents, strict=True))
        some = [name for name in names if name in written]
        worded = field.words.encode(some, [texts[name] for name in some])
    numbers = field.insert(vectors)
    try:
        stored: dict[str, Any] = {
            "ids": names,
            "embeddings": list(vectors),
            "documents": documents,
            "metadatas": request["metadatas"],
            "uris": request["uris"],
        }
        if field.pointer.row_columns:
            stored["metadatas"] = view.merged(request["metadatas"], field.columns_of(numbers))
        reached(Moment.WRITING)
        host.patience.call(lambda: getattr(host.collection, verb)(**stored))
    except BaseException:
        field.withdraw(numbers)
        raise
    reached(Moment.ROWS_WRITTEN)
    # what Chroma returns can differ from what it was given in the last bit
    readable, vectors = host.vectors([name for name in names if name in written])
    number_of = dict(zip(names, numbers.tolist(), strict=True))
    kept = np.array([number_of[name] for name in readable], dtype=np.int64)
    spare = np.setdiff1d(numbers, kept)
    if len(spare):
        field.withdraw(spare)
    if not readable:
        return True
    field.adopt(readable, kept, vectors)
    if worded is not None and field.words is not None:
        field.words.put(worded)
    else:  # the documents stay, or there are none
        field.read_words(readable)
    return _append(store, field, readable, kept)


def remove(store: FieldStore, field: ChromaField, names: list[str]) -> bool:
    """Drop rows that the host has deleted, here and from what is stored.

    Returns
    -------
    bool
        As of `write`.
    """
    known = [name for name in dict.fromkeys(names) if name in field.rows]
    if not known:
        return True
    field.discard(known)
    try:
        return _appended(store, field, [], np.empty(0, dtype=np.int64), gone=known)
    except Exception:
        # no query finds them: only what is stored names them still
        field.pending = field.pending | Changes(removed=tuple(known))
        logger.warning(
            "the energy columns of %d deleted rows of %r are still stored; refresh() removes them",
            len(known),
            field.host.collection.name,
            exc_info=True,
        )
    return True


def _touched(host: ChromaHost, verb: str, names: list[str]) -> set[str]:
    """Ids whose rows the write is going to set."""
    if verb == "upsert":
        return set(names)
    present = set(host.ids(ids=names))
    return present if verb == "update" else set(names) - present


def _append(
    store: FieldStore, field: ChromaField, names: list[str], numbers: NDArray[np.int64]
) -> bool:
    """Store the columns of rows that are in the index."""
    try:
        return _appended(store, field, names, numbers)
    except Exception:
        # the rows are safe in Chroma and searchable here: only their columns are not stored
        field.pending = field.pending | Changes(changed=tuple(names))
        logger.warning(
            "the energy columns of %d rows of %r could not be stored; refresh() writes them",
            len(names),
            field.host.collection.name,
            exc_info=True,
        )
    return True


def _appended(
    store: FieldStore,
    field: ChromaField,
    names: list[str],
    numbers: NDArray[np.int64],
    gone: Sequence[str] = (),
) -> bool:
    """One more chunk; all are merged where there are many. False as of `write`."""
    worded = None if field.words is None or not names else field.words.taken(names)
    prints = field.rows.fingerprints(numbers)
    chunk = chunks.pack(names, field.columns_of(numbers), prints, worded, gone)
    current = store.pointer()
    if current is None or current.generation != field.pointer.generation:
        return False
    appended = store.append(current, chunk)
    if appended is None:
        return False
    field.pointer = appended
    field.settle([*names, *gone])
    if field.pointer.chunks > LOOSE_CHUNKS + len(field) // chunks.CHUNK_ROWS:
        unseen = field.pending.added or field.pending.changed
        shown = field.pointer.viewed == field.pointer.generation and not unseen
        fields.publish(field, store)
        if shown:
            field.pointer = store.mark_viewed(field.pointer)
    return True
