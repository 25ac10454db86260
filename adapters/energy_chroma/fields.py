"""The field of a Chroma collection: fitted, read from Chroma, written to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from chromadb.errors import InternalError

from energy_chroma.chunks import pack_all, unpack_all
from energy_chroma.host import PAGE, ChromaHost
from energy_chroma.pointer import NO_SHARE, Pointer, embedder_of, identity_text
from energy_chroma.store import FieldStore
from energy_chroma.watching import State
from energy_plugin.energy.config import as_config
from energy_plugin.errors import ForeignFieldError, HostWriteError
from energy_plugin.stored import Changes
from energy_plugin.stored.fitting import Costs, fitted
from energy_plugin.stored.live import LiveField
from energy_plugin.stored.rows import RowMap
from energy_plugin.stored.words import ROW_BYTES, LiveWords, tokenizer_of
from energy_plugin.validation import as_memory_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from energy_plugin.energy import EnergyConfig, SearchResult

# A page's floats are handed over as Python's numbers; the bytes are measured.
COSTS = Costs(page=PAGE, page_copies=20, host_bytes=16 << 20, copies=6, id_bytes=300)


class ChromaField(LiveField[ChromaHost, Pointer]):
    """The field of a collection, loaded; `words` of its documents where they were built."""

    words: LiveWords | None = None
    counted_at: State | None = None  # state of the host at which its rows were counted
    _complete = False  # whether every row has words: what comes later brings its own

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.int64] | None,
        n_probe: int | Literal["all"] | None = None,
        *,
        lexical: Any = None,
        lexical_weight: float | None = None,
    ) -> SearchResult | None:
        """See `LiveField.search`; with lexical scores, by energy and words."""
        if len(self) == 0 or (allowed is not None and len(allowed) == 0):
            return None
        if lexical is None:
            return self.index.search(queries, k, rows=allowed, n_probe=n_probe)
        return self.index.search(
            queries,
            k,
            rows=allowed,
            n_probe=n_probe,
            lexical=lexical,
            lexical_weight=lexical_weight,
        )

    def discard(self, ids: Sequence[Any]) -> None:
        """See `LiveField.discard`; with their words."""
        super().discard(ids)
        if self.words is not None:
            self.words.drop(ids)

    def apply(self, changes: Changes) -> Changes:
        """See `LiveField.apply`; with their words."""
        changes = super().apply(changes)
        self.read_words([n for n in (*changes.added, *changes.changed) if n in self.rows])
        return changes

    def read_words(self, ids: Sequence[Any]) -> None:
        """Take the words of rows from their documents."""
        if self.words is not None and ids:
            documents = self.host.documents(ids)
            names = list(documents)
            self.words.put(self.words.encode(names, [documents[name] for name in names]))

    def complete_words(self) -> None:
        """Read the words of rows that have none, as some that an older version wrote."""
        if self.words is not None and not self._complete:
            self.read_words(self.words.missing(self.rows.ids))
            self._complete = True


def fit(
    host: ChromaHost,
    config: EnergyConfig | None,
    *,
    row_columns: bool,
    show_progress_bar: bool,
    device: str | None,
    memory_limit: int | str | None = None,
    language: str | None = None,
) -> ChromaField:
    """Fit a field to all rows of the collection; writes nothing.

    With a `language`, the words of all documents are read, a page at a time.

    Raises
    ------
    InvalidInputError
        The collection is empty, the limit is too small, or the language is unknown.
    OptionalDependencyError
        Words need the extra ``lexical``.
    """
    words = None if language is None else LiveWords(tokenizer_of(language))
    index, rows = fitted(
        host,
        as_config(config),
        costs=COSTS if words is None else replace(COSTS, id_bytes=COSTS.id_bytes + ROW_BYTES),
        memory_limit=as_memory_limit(memory_limit),
        device=device,
        show_progress_bar=show_progress_bar,
    )
    pointer = _new_pointer(host, index.field.dim, row_columns=row_columns)
    live = ChromaField(host, index, rows, pointer)
    if words is not None:
        for page in host.record_pages(["documents"]):
            words.put(words.encode(page["ids"], page["documents"]))
        live.words = words
        learn_share(live)
    return live


def learn_share(live: ChromaField) -> None:
    """Learn how much words count in this collection, from its rows."""
    if live.words is not None:
        live.complete_words()
        by_number = live.words.by_number(live.rows, live.index.next_row)
        live.words.share = live.index.lexical_share(by_number)


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
    rows, log = unpack_all(chunks, field.dim)
    index = EnergyIndex.from_columns(field, rows.columns, device=device)
    live = ChromaField(host, index, RowMap(rows.ids, rows.fingerprints), pointer)
    if pointer.words:
        share = None if pointer.share == NO_SHARE else pointer.share
        live.words = LiveWords.of(pointer.words, share)
        for part in log:
            live.words.drop(part) if isinstance(part, list) else live.words.put(part)
    live.catch_up()
    return live


def publish(live: ChromaField, store: FieldStore) -> None:
    """Publish everything as a new generation.

    Raises
    ------
    HostWriteError
        Chroma could not write, as on a full disk; the existing field is unchanged.
    """
    rows = live.index.rows
    ids = live.rows.names(rows.tolist())
    prints = live.rows.fingerprints(rows)
    columns = live.index.columns

    words = live.words
    live.complete_words()

    def chunks() -> Iterator[bytes]:
        return pack_all(ids, columns, prints, words)

    pointer = replace(
        live.pointer,
        words="" if words is None else words.tokenizer.identity,
        share=NO_SHARE if words is None or words.share is None else words.share,
    )
    try:
        live.pointer = live.host.patience.call(
            lambda: store.publish(pointer, live.index.field.to_bytes(), chunks)
        )
    except InternalError as error:
        raise HostWriteError(
            f"Chroma could not store the energy field of {live.host.collection.name!r} "
            f"({error}). The existing field, if any, is unchanged. Check free disk space "
            "and write permission, then retry."
        ) from error
    live.pending = Changes()


def _check_owner(host: ChromaHost, pointer: Pointer) -> None:
    name = host.collection.name
    if pointer.of != str(host.collection.id):
        raise ForeignFieldError(
            f"The energy field in {host.beside.name!r} belongs to collection {pointer.of}, "
            f"not to {name!r} ({host.collection.id}). Call build() to replace it."
        )
    built, now = embedder_of(pointer), host.embedder()
    if built is not None and now is not None and built != now:
        raise ForeignFieldError(
            f"The energy field of {name!r} was built on vectors of {_brief(built)}, the "
            f"collection is opened with {_brief(now)}. Open it with the previous embedding "
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
