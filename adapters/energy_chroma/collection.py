"""A Chroma collection that ranks by energy."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import GetResult, QueryResult, Where, WhereDocument
from numpy.typing import NDArray

from energy_chroma import query, result, rows, view, writing
from energy_chroma.host import ChromaHost
from energy_chroma.live import LiveField
from energy_chroma.staleness import Changes, scan
from energy_chroma.store import FieldStore
from energy_plugin.energy.config import as_config
from energy_plugin.errors import NotBuiltError
from energy_plugin.validation import as_queries

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField


class EnergyCollection:
    """Energy ranking for a Chroma collection.

    The collection stays an ordinary Chroma collection: everything the plugin knows stands in
    Chroma itself, in a companion collection and in three metadata keys of each row.

    Parameters
    ----------
    collection : chromadb.Collection
        Of a persistent, ephemeral or HTTP client.
    verify : bool, default True
        Look in every query for rows that were added, deleted or changed without this object
        (about 2 to 5 ms a query). Hits are always checked, so that deleted rows never appear.
    device : str, optional
        Where the numerics run: ``"cuda"``, ``"mps"``, ``"cpu"``.

    Raises
    ------
    InvalidInputError
        Not a Chroma collection.

    Examples
    --------
    >>> energy = EnergyCollection(collection).build()
    >>> energy.query(query_texts=["flow past a wedge"], n_results=10, where={"year": 1958})
    """

    def __init__(
        self, collection: Collection, *, verify: bool = True, device: str | None = None
    ) -> None:
        self._host = ChromaHost(collection)
        self._store = FieldStore(self._host)
        self._field: LiveField | None = None
        self._lock = threading.RLock()
        self._verify = verify
        self._device = device

    def __repr__(self) -> str:
        return f"EnergyCollection(name={self.name})"

    @property
    def collection(self) -> Collection:
        """The Chroma collection."""
        return self._host.collection

    @property
    def name(self) -> str:
        """Name of the Chroma collection."""
        return str(self.collection.name)

    @property
    def field(self) -> EnergyField:
        """The energy field, read from Chroma where it is not in memory; see `query` for errors."""
        with self._lock:
            return self._open(check=self._verify).index.field

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question by the collection's own embedding function, (d,) float32."""
        return self._host.embed_query(text)

    # -- the field

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        row_columns: bool = True,
        show_progress_bar: bool = False,
    ) -> EnergyCollection:
        """Fit the energy field to all rows and store its columns in Chroma.

        A field that exists is replaced by a new generation and stays readable until then.

        Parameters
        ----------
        config : EnergyConfig, optional
            Settings of the field.
        row_columns : bool, default True
            Also write ``energy_lambda``, ``energy_dispersion`` and ``energy_cell`` into each
            row's metadata, for people and for ``where`` (25 s per 100,000 rows). Search does
            not need them.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object.

        Raises
        ------
        InvalidInputError
            The collection is empty, or `config` is no EnergyConfig.
        """
        config = as_config(config)
        # without the lock: other threads go on reading and writing with the former field
        field = LiveField.fit(
            self._host,
            config,
            row_columns=row_columns,
            show_progress_bar=show_progress_bar,
            device=self._device,
        )
        with self._lock:
            field.catch_up()
            field.store(self._store)
            self._field = field
            self._show(field, show_progress_bar=show_progress_bar)
        return self

    def refresh(self, *, show_progress_bar: bool = False) -> Changes:
        """Compare every row with its energy columns and store what changed.

        Reads all vectors (0.4 s per 10,000 rows). The field itself, its anchors and metric, is
        kept; `build` fits it anew.

        Returns
        -------
        Changes
            The rows whose columns were missing, superfluous or of another vector.
        """
        with self._lock:
            field = self._open()
            field.apply(scan(self._host, field.rows))
            changes = field.pending.without(field.unreadable)
            loose = field.pointer.chunks > 1 + len(field) // rows.CHUNK_ROWS
            shown = field.pointer.viewed == field.pointer.generation
            if changes or loose:
                field.store(self._store)
            if not shown:
                self._show(field, show_progress_bar=show_progress_bar)
            else:
                fresh = [*changes.added, *changes.changed]
                if field.pointer.row_columns:
                    fresh += view.missing(self._host, field.rows.ids)
                self._show(field, fresh, show_progress_bar=show_progress_bar)
        return changes

    def drop(self, *, show_progress_bar: bool = False) -> None:
        """Remove the field, its companion collection and the rows' energy keys.

        The rows themselves, their vectors and the user's metadata stay as they are.
        """
        with self._lock:
            self._field = None
            self._store.drop()
            view.clear(self._host, show_progress_bar=show_progress_bar)

    # -- reading

    def query(  # noqa: PLR0917 - Chroma's own signature
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        query_images: Any = None,
        query_uris: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        include: Sequence[str] = ("metadatas", "documents", "distances"),
    ) -> QueryResult:
        """The rows of least energy distance to each query.

        Parameters, errors and result are those of ``collection.query``; the filters are applied
        before ranking, so that they shorten a result only where fewer rows match.

        Parameters
        ----------
        include : sequence of str
            As in Chroma; ``"energies"`` adds the terms of each distance.

        Returns
        -------
        QueryResult
            ``distances`` are energy distances, ascending.

        Raises
        ------
        NotBuiltError
            The collection has no energy field.
        InvalidInputError
            A query vector has the wrong dimension or is not finite, or `include` is no list of
            names.
        CorruptFieldError, ForeignFieldError
            The stored field cannot be used; the message says what to do.
        """
        include = result.checked(include)
        with self._lock:
            # before the texts are embedded, which may take longer than anything else
            field = self._open(check=self._verify)
        request = self._host.prepare_query(
            query_embeddings=query_embeddings,
            query_texts=query_texts,
            query_images=query_images,
            query_uris=query_uris,
            ids=ids,
            n_results=n_results,
            where=where,
            where_document=where_document,
            include=result.split(include),
        )
        queries = as_queries(np.asarray(request["embeddings"], dtype=np.float32), field.dim)
        filters = {
            name: request[name]
            for name in ("ids", "where", "where_document")
            if request[name] is not None
        }
        include = result.extended(include, request["include"])
        fields = result.fetched(include, loader=self._host.has_loader)
        with self._lock:
            hits = query.find(
                field,
                queries,
                n_results,
                filters,
                fields,
                verify=self._verify,
            )
        return result.assemble(hits, include)

    def get(self, *args: Any, **kwargs: Any) -> GetResult:
        """Rows by id or filter: ``collection.get``."""
        return self.collection.get(*args, **kwargs)

    def peek(self, limit: int = 10) -> GetResult:
        """The first rows: ``collection.peek``."""
        return self.collection.peek(limit)

    def count(self) -> int:
        """Rows in the collection: ``collection.count``."""
        return self._host.count()

    # -- writing

    def add(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Add rows with their energy columns: ``collection.add``.

        As in Chroma, ids that exist already are left as they are.
        """
        self._write(
            "add",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def upsert(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Add or replace rows with their energy columns: ``collection.upsert``."""
        self._write(
            "upsert",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def update(  # noqa: PLR0917 - Chroma's own signature
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Change rows and, where their vector changes, their energy columns: ``collection.update``.

        Metadata is merged, as Chroma does; ids that do not exist are ignored.
        """
        self._write(
            "update",
            ids=ids,
            embeddings=embeddings,
            metadatas=metadatas,
            documents=documents,
            images=images,
            uris=uris,
        )

    def delete(
        self,
        ids: Any = None,
        where: Where | None = None,
        where_document: WhereDocument | None = None,
        limit: int | None = None,
    ) -> Any:
        """Delete rows: ``collection.delete``."""
        with self._lock:
            field = self._open_if_built()
            answer = self.collection.delete(ids, where, where_document, limit)
            if field is not None:
                scope = [ids] if isinstance(ids, str) else ids
                present = set(self._host.ids(ids=scope))
                touched = field.rows.ids if scope is None else scope
                gone = [n for n in touched if n in field.rows and n not in present]
                field.discard(gone)
                # their stored columns are idle until the next generation leaves them out
                field.pending = field.pending | Changes(removed=tuple(gone))
        return answer

    # -- inside

    def _open(self, *, check: bool = True) -> LiveField:
        """The loaded field; with `check` read again where another process built a new one."""
        if self._field is not None and check:
            pointer = self._store.pointer()
            if pointer is None or pointer.generation != self._field.pointer.generation:
                self._field = None
        if self._field is None:
            self._field = LiveField.load(self._host, self._store, self._device)
        return self._field

    def _open_if_built(self) -> LiveField | None:
        try:
            return self._open()
        except NotBuiltError:
            return None

    def _show(
        self, field: LiveField, ids: list[str] | None = None, *, show_progress_bar: bool
    ) -> None:
        """Write the row columns of some rows, None for all, and note that they are there."""
        if field.pointer.row_columns:
            numbers = field.index.rows if ids is None else field.rows.rows(ids)
            names = field.rows.names(numbers.tolist())
            columns = field.columns_of(numbers)
            view.write(self._host, names, columns, show_progress_bar=show_progress_bar)
        field.pointer = self._store.mark_viewed(field.pointer)

    def _write(self, verb: str, **given: Any) -> None:
        with self._lock:
            field = self._open_if_built()
        # without the lock, as embedding can take longer than anything else
        request: Any = None if field is None else self._host.prepare_write(verb, **given)
        with self._lock:
            field = None if request is None else self._open_if_built()
            if field is None or request["embeddings"] is None:
                getattr(self.collection, verb)(**given)
            elif not writing.write(self._store, field, verb, request):
                self._field = None
