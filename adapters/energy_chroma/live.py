"""A collection's energy field in memory: index, row numbers, and what is not stored yet."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from chromadb.errors import InternalError
from numpy.typing import NDArray

from energy_chroma import reading
from energy_chroma.host import ChromaHost
from energy_chroma.pointer import Pointer, embedder_of, identity_text
from energy_chroma.rows import RowMap, pack_all, unpack_all
from energy_chroma.staleness import Changes, by_ids
from energy_chroma.store import FieldStore
from energy_plugin.energy.config import as_config
from energy_plugin.energy.upkeep.fingerprint import fingerprint
from energy_plugin.errors import ForeignFieldError, HostWriteError, InvalidInputError
from energy_plugin.validation import as_memory_limit

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyIndex, SearchResult

logger = logging.getLogger(__name__)


class LiveField:
    """The field of one collection, loaded.

    Parameters
    ----------
    host : ChromaHost
    index : EnergyIndex
    rows : RowMap
        Ids of the index's rows.
    pointer : Pointer
        Of the stored generation that this came from.
    """

    def __init__(
        self, host: ChromaHost, index: EnergyIndex, rows: RowMap, pointer: Pointer
    ) -> None:
        self.host = host
        self.index = index
        self.rows = rows
        self.pointer = pointer
        self.pending = Changes()
        self.unreadable: set[str] = set()
        self.counted = -math.inf  # when the host's rows were counted last, by a monotonic clock

    @classmethod
    def fit(
        cls,
        host: ChromaHost,
        config: EnergyConfig | None,
        *,
        row_columns: bool,
        show_progress_bar: bool,
        device: str | None,
        memory_limit: int | str | None = None,
    ) -> LiveField:
        """Fit a field to all rows of the collection; writes nothing.

        Raises
        ------
        InvalidInputError
            The collection is empty, or the limit is too small.
        """
        from energy_plugin.energy import EnergyIndex

        limit = as_memory_limit(memory_limit)
        settings = as_config(config)
        if limit is not None:
            passes = reading.plan_of(limit, host, settings)
            if passes is not None:
                field, columns, ids, prints = reading.fitted(
                    host, passes, settings, device=device, show_progress_bar=show_progress_bar
                )
                index = EnergyIndex(field, columns, device=device)
                pointer = cls._new_pointer(host, field.dim, row_columns=row_columns)
                return cls(host, index, RowMap(ids, prints), pointer)
        found: dict[str, NDArray[np.float32]] = {}
        for ids, vectors in host.pages():
            found.update(zip(ids, vectors, strict=True))
        if not found:
            raise InvalidInputError(
                f"Collection {host.collection.name!r} is empty: there is nothing to build an "
                "energy field from. Add rows first."
            )
        names, matrix = list(found), np.stack(list(found.values()))
        found.clear()
        index = EnergyIndex.fit(
            matrix,
            settings,
            show_progress_bar=show_progress_bar,
            device=device,
        )
        pointer = cls._new_pointer(host, matrix.shape[1], row_columns=row_columns)
        return cls(host, index, RowMap(names, fingerprint(matrix)), pointer)

    @staticmethod
    def _new_pointer(host: ChromaHost, dim: int, *, row_columns: bool) -> Pointer:
        return Pointer(
            of=str(host.collection.id),
            dim=dim,
            embedder=identity_text(host.embedder()),
            row_columns=row_columns,
        )

    @classmethod
    def load(cls, host: ChromaHost, store: FieldStore, device: str | None) -> LiveField:
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
        live = cls(host, index, RowMap(ids, prints), pointer)
        live.catch_up()
        return live

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Dimension of the collection's vectors."""
        return self.pointer.dim

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.int64] | None,
        n_probe: int | Literal["all"] | None = None,
    ) -> SearchResult | None:
        """Nearest rows by energy distance; None where no row is allowed."""
        if len(self) == 0 or (allowed is not None and len(allowed) == 0):
            return None
        return self.index.search(queries, k, rows=allowed, n_probe=n_probe)

    # -- rows

    def insert(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers of vectors that no id stands for yet; see `adopt`."""
        return self.index.add(vectors)

    def withdraw(self, rows: NDArray[np.int64]) -> None:
        """Take `insert` back."""
        self.index.remove(rows)

    def adopt(
        self, ids: Sequence[str], rows: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> None:
        """Let ids stand for inserted rows, in place of the rows they had."""
        former = self.rows.rows(ids)
        if len(former):
            self.index.remove(former)
        self.rows.assign(ids, rows, fingerprint(vectors))

    def settle(self, ids: Sequence[str]) -> None:
        """Note that the host and the stored columns of these rows agree again."""
        self.pending = self.pending.without(ids)
        self.unreadable.difference_update(ids)

    def discard(self, ids: Sequence[str]) -> None:
        """Drop those of the ids that are known."""
        known = [name for name in dict.fromkeys(ids) if name in self.rows]
        if known:
            self.index.remove(self.rows.rows(known))
            self.rows.forget(known)

    def columns_of(self, rows: NDArray[np.int64]) -> EnergyColumns:
        """Columns of live row numbers, in their order."""
        return self.index.columns_of(rows)

    # -- changes behind the plugin's back

    def catch_up(self) -> Changes:
        """Compare ids with the host and serve what is new from its own vector."""
        present = self.host.ids()
        self.unreadable.intersection_update(present)
        return self.apply(by_ids(self.rows, present))

    def apply(self, changes: Changes) -> Changes:
        """Bring the index in memory up to the host; nothing is stored.

        Returns
        -------
        Changes
            Without rows that are listed as new or changed and turn out to be gone.
        """
        fresh = [*changes.added, *changes.changed]
        self.discard(changes.removed)
        self.unreadable.difference_update(changes.removed)
        if fresh:
            readable, vectors = self.host.vectors(fresh)
            # a row that cannot be read any more must not be served from its old vector
            held = set(readable)
            lost = [name for name in fresh if name not in held]
            self.discard(lost)
            listed = set(self.host.ids(ids=lost))
            self.unreadable = (self.unreadable - held) | listed
            gone = [name for name in lost if name not in listed]
            if gone:
                was_known = tuple(name for name in changes.changed if name in set(gone))
                changes = changes.without(gone) | Changes(removed=was_known)
            if readable:
                if vectors.shape[1] != self.dim:
                    raise ForeignFieldError(
                        f"Rows of {self.host.collection.name!r} have {vectors.shape[1]} "
                        f"dimensions, its energy field has {self.dim}. Call build() again."
                    )
                self.adopt(readable, self.insert(vectors), vectors)
        if changes:
            logger.info(
                "%d rows of %r differ from their stored energy columns and are served from their "
                "own vectors; refresh() stores them",
                len(changes),
                self.host.collection.name,
            )
            self.pending = self.pending | changes
        return changes

    # -- storing

    def store(self, store: FieldStore) -> None:
        """Publish everything as a new generation.

        Raises
        ------
        HostWriteError
            Chroma could not write, as on a full disk; the former field stays.
        """
        rows = self.index.rows
        ids = self.rows.names(rows.tolist())
        prints = self.rows.fingerprints(rows)
        columns = self.index.columns

        def chunks() -> Iterator[bytes]:
            return pack_all(ids, columns, prints)

        try:
            self.pointer = self.host.patience.call(
                lambda: store.publish(self.pointer, self.index.field.to_bytes(), chunks)
            )
        except InternalError as error:
            raise HostWriteError(
                f"Chroma could not store the energy field of {self.host.collection.name!r} "
                f"({error}). The former field, if there was one, stays. Look whether the disk is "
                "full or the folder read-only, then call again."
            ) from error
        self.pending = Changes()


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
