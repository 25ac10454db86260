"""A LanceDB table with its energy field in memory, as of the current version."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.artefacts import Artefacts
from energy_lancedb.beside import FIELDS
from energy_lancedb.fulltext import FullText
from energy_lancedb.host import ATTEMPTS, Host
from energy_lancedb.layout import LoadedRows, match
from energy_lancedb.layouts import layout_of
from energy_lancedb.pointer import Pointer, embedder_of, pointer_of, replaced_pointer
from energy_lancedb.snapshot import Snapshot, snapshot_of
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyField

UNKNOWN_VERSION = -1  # of a snapshot that has to be looked at again


class LiveTable:
    """What reads: snapshots, the field, versions. See `EnergyTable` for the parameters."""

    def __init__(
        self,
        table: Any,
        vector_column_name: str | None = None,
        *,
        device: str | None = None,
        connection: Any | None = None,
        interval: float = 0.0,
    ) -> None:
        self.host = Host(table, connection, vector_column_name)
        self.interval = interval  # seconds that the view of a search may be old
        self._looked = (-math.inf, 0)  # when, and after how many commits of this object
        self.full_text = FullText(self.host)
        self.column = vector_column_name
        self.device = device
        self.lock = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._last_field: tuple[str, EnergyField] | None = None  # by the SHA-256 of its bytes
        self._last_opened: tuple[Pointer, EnergyField] | None = None

    def view(self) -> Snapshot:
        """`snapshot`, or one as old as the interval allows; writes of this object are in it.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `snapshot`.
        """
        if not self.interval:
            return self.snapshot()
        with self.lock:
            cached, (when, written) = self._snapshot, self._looked
            known = cached is not None and cached.version == (self.host.pinned or self.host.seen)
            young = time.monotonic() < when + self.interval and written == self.host.written
            if cached is not None and known and young:
                return cached
            now = time.monotonic(), self.host.written
            cached = self.snapshot()
            self._looked = now
            return cached

    def snapshot(self, *, looked: bool = False) -> Snapshot:
        """The index as of the table's latest version, from memory where that has not changed.

        Parameters
        ----------
        looked : bool, default False
            Take the version that was seen last; for callers under the lock that just looked.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            There is no field, it belongs to other vectors, or its bytes are damaged.
        """
        with self.lock:
            seen = self.host.seen if looked else None
            version = self.host.latest() if seen is None else seen
            if self.host.replaced:
                self._snapshot, self._last_opened, self.host.replaced = None, None, False
            cached = self._snapshot
            if cached is not None and cached.version == version:
                return cached
            version, pointer, field = self._opened(version)
            loaded = layout_of(pointer.layout, self.host).load(pointer)
            self._refuse_other_rows(pointer, loaded)
            self._snapshot = snapshot_of(
                version, pointer, field, loaded, device=self.device, previous=self._snapshot
            )
            return self._snapshot

    def _refuse_other_rows(self, pointer: Pointer, loaded: LoadedRows) -> None:
        """Refuse a field beside a table whose rows were all replaced.

        Overwriting a table leaves its metadata, and so the pointer. A table that was empty when
        it was seen last has only been filled.
        """
        filled = self._snapshot is not None and len(self._snapshot) == 0
        if len(loaded.rowids) or not len(loaded.stale) or pointer.layout == "columns" or filled:
            return
        raise NotBuiltError(
            f"All {len(loaded.stale)} rows of table {self.host.name!r} were replaced after its "
            "energy field was built. "
            "Write a new field with EnergyTable(table).build()."
        )

    def opened(self) -> tuple[Pointer, EnergyField]:
        """Pointer and field of the table's latest version, without the rows.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `snapshot`.
        """
        with self.lock:
            self._last_opened = self._opened(self.host.latest())[1:]
            return self._last_opened

    def held(self, pointer: Pointer | None) -> tuple[Pointer, EnergyField] | None:
        """What `opened` gave last, if it is the field of this pointer."""
        last = self._last_opened
        if pointer is None or last is None or not last[0].same_field(pointer):
            return None
        return last

    def _opened(self, version: int) -> tuple[int, Pointer, EnergyField]:
        pointer = self.pointer()
        try:
            return version, pointer, self._field(pointer)
        except CorruptFieldError:
            version, again = self.host.latest(), self.pointer()
            if again.generation == pointer.generation:
                raise
            return version, again, self._field(again)  # another process has just built

    def renew(self) -> None:
        """Look at the table again, though its version may be the one that was seen last.

        The index in memory is kept: the next snapshot follows from it.
        """
        if self._snapshot is not None:
            self._snapshot = replace(self._snapshot, version=UNKNOWN_VERSION)

    def let_go(self) -> None:
        """Forget the index in memory."""
        self._snapshot = None

    def holds_rows(self) -> bool:
        """Whether the snapshot of the version that was seen last is in memory."""
        return self._snapshot is not None and self._snapshot.version == self.host.seen

    def is_current(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is the last one that was made; ask under the lock."""
        return self._snapshot is snapshot

    def pointer(self) -> Pointer:
        """The pointer of the current version, checked against the table.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `snapshot`.
        """
        schema = self.host.schema
        pointer = pointer_of(schema)
        if pointer is None:
            raise self._not_built()
        column, dim = self.host.vector_column(pointer.vector_column)
        embedder = embedder_of(schema, column)
        # a function that is attached or taken off later says nothing about the vectors there are
        other = None not in (embedder, pointer.embedder) and embedder != pointer.embedder
        if dim != pointer.dim or other:
            raise ForeignFieldError(
                f"The energy field of table {self.host.name!r} was fitted to vectors of "
                f"{pointer.dim} dimensions from the embedder {pointer.embedder}, the table has "
                f"{dim} dimensions from {embedder}. Write a new field with "
                "EnergyTable(table).build()."
            )
        return pointer

    def _not_built(self) -> NotBuiltError:
        built = sorted(p.vector_column for p in self.host.pointers().values() if p is not None)
        if self.column is None or not built:
            return NotBuiltError(
                f"Table {self.host.name!r} has no energy field. "
                "Write one with EnergyTable(table).build()."
            )
        return NotBuiltError(
            f"Table {self.host.name!r} has no energy field of the vector column {self.column!r}, "
            f"only of {built}. Write one with EnergyTable(table, {self.column!r}).build()."
        )

    def _field(self, pointer: Pointer) -> EnergyField:
        if self._last_field is not None and self._last_field[0] == pointer.sha256:
            return self._last_field[1]
        from energy_plugin.energy import EnergyField

        blob = self.artefacts(pointer.artefacts).read(
            pointer.generation, pointer.chunks, pointer.sha256
        )
        field = EnergyField.from_bytes(blob)
        if field.dim != pointer.dim:
            raise CorruptFieldError(
                f"The stored field has {field.dim} dimensions, its pointer says {pointer.dim}. "
                "Write a new field with EnergyTable(table).build()."
            )
        self._last_field = (pointer.sha256, field)
        return field

    # -- vectors

    def live_vectors(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """The table's vectors of the live rows of a snapshot, in the order of `index.rows`.

        Raises
        ------
        RuntimeError
            The table has changed since.
        """
        vectors = self._vectors_of(snapshot)
        if vectors is None:
            raise RuntimeError(f"Table {self.host.name!r} changed while it was read. Try again.")
        return vectors

    def snapshot_and_vectors(self) -> tuple[Snapshot, NDArray[np.float32]]:
        """A snapshot and its `live_vectors`, of one version of the table.

        Raises
        ------
        RuntimeError
            Others change the table faster than it can be read.
        """
        for _ in range(ATTEMPTS):
            snapshot = self.snapshot()
            vectors = self._vectors_of(snapshot)
            if vectors is not None:  # else another thread has deleted rows by the same handle
                return snapshot, vectors
        raise RuntimeError(
            f"Table {self.host.name!r} changed {ATTEMPTS} times while it was read. Try again."
        )

    def _vectors_of(self, snapshot: Snapshot) -> NDArray[np.float32] | None:
        pointer = snapshot.pointer
        found = self.host.vectors(pointer.vector_column, pointer.dim)
        positions, known = match(found.rowids, snapshot.live_rowids)
        same = known.all() and int(self.host.table.version) == snapshot.version
        return found.matrix[positions] if same else None

    @contextmanager
    def others_go_on(self) -> Iterator[None]:
        """Let other threads search and write, under the lock, while this one computes.

        What is computed must not share anything that they change.

        Raises
        ------
        InvalidInputError
            One has checked out an older version meanwhile.
        """
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
        self.host.require_latest()

    # -- versions

    def checkout(self, version: int | str) -> None:
        """Search an older version of the table, with the field that it had.

        Parameters
        ----------
        version : int or str
            Number or tag.
        """
        with self.lock:
            self.host.table.checkout(version)
            self.host.pinned = int(self.host.table.version)

    def checkout_latest(self) -> None:
        """Follow the table's latest version again."""
        with self.lock:
            self.host.pinned = None
            self.host.latest()

    # -- what a query needs

    def vector_column(self) -> str:
        """Name of the column of the field, or else of the vector column there is to build on.

        Raises
        ------
        InvalidInputError
            There are several to choose from, or none.
        """
        pointer = replaced_pointer(self.host.schema)
        column = self.column or (pointer.vector_column if pointer is not None else None)
        return self.host.vector_column(column)[0]

    def embeds(self) -> bool:
        """Whether the table has an embedding function for its vectors."""
        return self.host.table.embedding_functions.get(self.vector_column()) is not None

    def embed_query(self, query: Any) -> NDArray[np.float32]:
        """Vector of a query in the table's own embedding, shape (d,), float32.

        Raises
        ------
        InvalidInputError
            The table has no embedding function.
        """
        column = self.vector_column()
        conf = self.host.table.embedding_functions.get(column)
        if conf is None:
            raise InvalidInputError(
                f"No embedding function for {column!r} in table {self.host.name!r}. "
                "Search with a vector, or create the table with an embedding function."
            )
        found = conf.function.compute_query_embeddings_with_retry(query)
        return np.asarray(found[0], dtype=np.float32)

    def artefacts(self, name: str | None = None) -> Artefacts:
        """The table that holds fields."""
        return Artefacts(self.host.connection, name or self.host.name + FIELDS, self.host.namespace)
