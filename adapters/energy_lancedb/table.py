"""A LanceDB table ranked by energy."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_lancedb.artefacts import Artefacts
from energy_lancedb.companion_layout import keys_of
from energy_lancedb.embedding import error_behind
from energy_lancedb.host import Host, prints_of
from energy_lancedb.info import EnergyInfo
from energy_lancedb.layout import FittedRows, layout_of
from energy_lancedb.pointer import Pointer, embedder_of, pointer_of, replaced_pointer
from energy_lancedb.query import EnergyQuery
from energy_lancedb.snapshot import Snapshot, snapshot_of
from energy_plugin.energy.config import as_config
from energy_plugin.errors import (
    CorruptFieldError,
    ForeignFieldError,
    InvalidInputError,
    NotBuiltError,
)

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyConfig, EnergyField

UNKNOWN_VERSION = -1  # of a snapshot that has to be looked at again
LAYOUTS = ("auto", "columns", "companion")

log = logging.getLogger(__name__)


class EnergyTable:
    """A LanceDB table whose searches are ordered by energy distance.

    Parameters
    ----------
    table : lancedb.table.LanceTable
        What `lancedb.connect(uri).open_table(name)` returns. The plugin moves this handle to
        the table's latest version before every search.
    vector_column_name : str, optional
        Only needed while the table has several vector columns and no field yet.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best at hand.
    connection : lancedb.DBConnection, optional
        Database of the companion tables; the table's own by default.

    Examples
    --------
    >>> energy = EnergyTable(table).build()                              # doctest: +SKIP
    >>> energy.search("heat flow").where("year > 2020").limit(5).to_pandas()  # doctest: +SKIP
    """

    def __init__(
        self,
        table: Any,
        vector_column_name: str | None = None,
        *,
        device: str | None = None,
        connection: Any | None = None,
    ) -> None:
        self.host = Host(table, connection)
        self._column = vector_column_name
        self._device = device
        self.lock = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._last_field: tuple[str, EnergyField] | None = None  # by the SHA-256 of its bytes

    def __repr__(self) -> str:
        return f"EnergyTable({self.host.name!r})"

    @property
    def table(self) -> Any:
        """The LanceDB table itself."""
        return self.host.table

    # -- building

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        layout: str = "auto",
        show_progress_bar: bool = False,
    ) -> EnergyTable:
        """Fit an energy field to the table and store it, as a new generation.

        Readers see the old field until the new one is complete.

        Parameters
        ----------
        config : EnergyConfig, optional
        layout : {"auto", "columns", "companion"}, default "auto"
            Store the energy columns in the table, or in a table beside it, which is the only
            way where pylance cannot open the storage (``memory://``). "auto" takes the first
            that works.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyTable
            This object.

        Raises
        ------
        InvalidInputError
            No row has a vector, the table has foreign columns of the same names, or `config`
            is no EnergyConfig.
        """
        from energy_plugin.energy import EnergyIndex

        config = as_config(config)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
        with self.lock:
            version = self.host.latest()
            previous = replaced_pointer(self.host.schema)
            column = self._column or (previous.vector_column if previous else None)
            column, dim = self.host.vector_column(column)
            if layout == "auto":
                layout = "columns" if self.host.has_dataset() else "companion"
            vectors = self.host.vectors(column, dim)
            if len(vectors.rowids) == 0:
                raise InvalidInputError(
                    f"Table {self.host.name!r} has no row with a vector in {column!r}. "
                    "Add rows, then build."
                )
            index = EnergyIndex.fit(
                vectors.matrix, config, show_progress_bar=show_progress_bar, device=self._device
            )
            rows = FittedRows(
                version=version,
                rowids=vectors.rowids,
                keys=keys_of(vectors.matrix),
                fingerprints=prints_of(vectors.matrix),
                columns=index.columns,
            )
            self._publish(index.field, rows, layout, column, previous)
            self.refresh()  # rows that came while the field was fitted
        return self

    def _artefacts(self, name: str | None = None) -> Artefacts:
        return Artefacts(
            self.host.connection, name or f"{self.host.name}__energy", self.host.namespace
        )

    def _publish(
        self,
        field: EnergyField,
        rows: FittedRows,
        layout: str,
        column: str,
        previous: Pointer | None,
    ) -> None:
        artefacts = self._artefacts()
        generation = 1 + max(
            artefacts.last_generation(), previous.generation if previous is not None else 0
        )
        chunks, sha256 = artefacts.write(generation, field.to_bytes())
        pointer = Pointer(
            generation=generation,
            layout=layout,
            vector_column=column,
            dim=field.dim,
            code_bytes=int(rows.columns.residual.shape[1]),
            artefacts=artefacts.name,
            chunks=chunks,
            sha256=sha256,
            embedder=embedder_of(self.host.schema, column),
            n_fitted=field.n_fitted,
            config=field.config.to_dict(),
        )
        replaced = layout_of(layout, self.host).publish(pointer, rows)
        if replaced is not None and replaced.layout != layout:
            layout_of(replaced.layout, self.host).drop()
        artefacts.drop_outdated(pointer, replaced)
        self._snapshot = None

    # -- reading

    def snapshot(self) -> Snapshot:
        """The index as of the table's latest version, from memory where that has not changed.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            There is no field, it belongs to other vectors, or its bytes are damaged.
        """
        with self.lock:
            version = self.host.latest()
            cached = self._snapshot
            if cached is not None and cached.version == version:
                return cached
            pointer = self.pointer()
            try:
                field = self._field(pointer)
            except CorruptFieldError:
                version, again = self.host.latest(), self.pointer()
                if again.generation == pointer.generation:
                    raise
                pointer, field = again, self._field(again)  # another process has just built
            loaded = layout_of(pointer.layout, self.host).load(pointer)
            self._snapshot = snapshot_of(
                version, pointer, field, loaded, device=self._device, previous=self._snapshot
            )
            return self._snapshot

    def pointer(self) -> Pointer:
        """The pointer of the version at hand, checked against the table.

        Raises
        ------
        NotBuiltError, ForeignFieldError, CorruptFieldError
            See `snapshot`.
        """
        schema = self.host.schema
        pointer = pointer_of(schema)
        if pointer is None:
            raise NotBuiltError(
                f"Table {self.host.name!r} has no energy field. "
                "Write one with EnergyTable(table).build()."
            )
        column = self._column or pointer.vector_column
        if column != pointer.vector_column:
            raise NotBuiltError(
                f"The energy field of table {self.host.name!r} belongs to the vector column "
                f"{pointer.vector_column!r}, not to {column!r}. Replace it with "
                f"EnergyTable(table, {column!r}).build()."
            )
        column, dim = self.host.vector_column(column)
        embedder = embedder_of(schema, column)
        if dim != pointer.dim or embedder != pointer.embedder:
            raise ForeignFieldError(
                f"The energy field of table {self.host.name!r} was fitted to vectors of "
                f"{pointer.dim} dimensions from the embedder {pointer.embedder}, the table has "
                f"{dim} dimensions from {embedder}. Write a new field with "
                "EnergyTable(table).build()."
            )
        return pointer

    def _field(self, pointer: Pointer) -> EnergyField:
        if self._last_field is not None and self._last_field[0] == pointer.sha256:
            return self._last_field[1]
        from energy_plugin.energy import EnergyField

        blob = self._artefacts(pointer.artefacts).read(
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

    def search(self, query: Any, *, vector_column_name: str | None = None) -> EnergyQuery:
        """Start a search, ordered by energy distance.

        Parameters
        ----------
        query : str or array_like of shape (d,) or (q, d)
            A text is embedded by the table's embedding function. Several vectors give a
            result with a ``query_index`` column, as in LanceDB.
        vector_column_name : str, optional
            The column that the field was built on, which is also the default.

        Returns
        -------
        EnergyQuery
            With LanceDB's `where`, `select`, `limit`, `to_arrow` and so on.
        """
        return EnergyQuery(self, query, vector_column_name)

    def embed_query(self, query: Any) -> NDArray[np.float32]:
        """Vector of a query in the table's own embedding, shape (d,), float32.

        Raises
        ------
        InvalidInputError
            The table has no embedding function.
        """
        column = self.pointer().vector_column
        conf = self.host.table.embedding_functions.get(column)
        if conf is None:
            raise InvalidInputError(
                f"No embedding function for {column!r} in table {self.host.name!r}. "
                "Search with a vector, or create the table with an embedding function."
            )
        found = conf.function.compute_query_embeddings_with_retry(query)
        return np.asarray(found[0], dtype=np.float32)

    def info(self) -> EnergyInfo:
        """Describe the field and the rows at the table's latest version."""
        return EnergyInfo.of(self.snapshot())

    # -- changing

    def add(self, data: Any, **options: Any) -> Any:
        """Add rows as `table.add` does, and write their energy columns.

        Where the columns cannot be written, which the log says, the rows are in the table all
        the same: searches rank them by their vectors, and `refresh` writes their columns.

        Parameters
        ----------
        data, **options
            See `lancedb.table.Table.add`.

        Returns
        -------
        lancedb.AddResult

        Raises
        ------
        ForeignFieldError, CorruptFieldError
            The table has a field that cannot be used. Nothing is added.
        InvalidInputError
            The optical embedding function was given an empty text. Nothing is added.
        """
        with self.lock:
            self.host.latest()
            if pointer_of(self.host.schema) is not None and options.get("mode") != "overwrite":
                self.snapshot()  # raises before anything is written
            try:
                result = self.host.table.add(data, **options)
            except Exception as error:
                own = error_behind(error)
                if own is None:
                    raise
                raise own from error
            try:
                self.host.latest()
                if pointer_of(self.host.schema) is not None:
                    self.refresh()
            except Exception:
                log.warning(
                    "the energy columns of rows added to %r could not be written; "
                    "refresh() writes them",
                    self.host.name,
                    exc_info=True,
                )
        return result

    def delete(self, where: Any) -> Any:
        """Delete rows as `table.delete` does."""
        return self.host.table.delete(where)

    def refresh(self) -> int:
        """Write the energy columns of rows that were added or changed without the plugin.

        Returns
        -------
        int
            How many rows.
        """
        with self.lock:
            snapshot = self.snapshot()

            def encode(rowids: NDArray[np.uint64], vectors: NDArray[np.float32]) -> EnergyColumns:
                rows, same = snapshot.find_same(rowids, prints_of(vectors))
                return snapshot.columns_of(rows) if same.all() else snapshot.index.encode(vectors)

            layout = layout_of(snapshot.pointer.layout, self.host)
            count = layout.catch_up(snapshot.pointer, encode)
            if count:
                self._snapshot = replace(snapshot, version=UNKNOWN_VERSION)
            return count

    def drop(self) -> None:
        """Remove the energy columns, the pointer and the companion tables."""
        with self.lock:
            self.host.latest()
            previous = replaced_pointer(self.host.schema)
            names = {f"{self.host.name}__energy"}
            if previous is not None:
                names.add(previous.artefacts)
            for layout in ("columns", "companion"):
                layout_of(layout, self.host).drop()
            for name in names:
                self._artefacts(name).drop()
            self._snapshot = None
