"""A Chroma collection that ranks by energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import GetResult, QueryResult, Where, WhereDocument
from numpy.typing import NDArray

from energy_chroma import checkup, query, reembedding, result, writing
from energy_chroma.host import ChromaHost
from energy_chroma.keeper import CollectionKeeper
from energy_plugin.energy.config import as_config
from energy_plugin.stored import Changes, FieldVerbs
from energy_plugin.stored.passing import passed_on
from energy_plugin.validation import as_k, as_queries

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig

# Members of Chroma's collection that only read.
PASSED_ON = frozenset(
    {"configuration", "configuration_json", "database", "id", "metadata", "schema", "tenant"}
)


class EnergyCollection(FieldVerbs):
    """Energy ranking for a Chroma collection.

    The collection stays an ordinary Chroma collection: everything the plugin knows stands in
    Chroma itself, in a companion collection and in three metadata keys of each row.

    Parameters
    ----------
    collection : chromadb.Collection
        Of a persistent, ephemeral or HTTP client.
    watch : bool, default True
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
        self, collection: Collection, *, watch: bool = True, device: str | None = None
    ) -> None:
        self._keeper: CollectionKeeper
        super().__init__(CollectionKeeper(ChromaHost(collection), watch=watch, device=device))

    def __repr__(self) -> str:
        return f"EnergyCollection(name={self.name})"

    def __getattr__(self, name: str) -> Any:
        keeper = self.__dict__.get("_keeper")
        if keeper is None:  # while it is made, copied or unpickled
            raise AttributeError(name)
        return passed_on(self, keeper.host.collection, "collection", PASSED_ON, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *PASSED_ON})

    @property
    def collection(self) -> Collection:
        """The Chroma collection."""
        return self._keeper.host.collection

    @property
    def name(self) -> str:
        """Name of the Chroma collection."""
        return str(self.collection.name)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question by the collection's own embedding function, (d,) float32."""
        return self._keeper.host.embed_query(text)

    # -- building

    def build(
        self,
        config: EnergyConfig | None = None,
        *,
        row_columns: bool = True,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
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
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond what process and Chroma hold.
            Where all rows need more, the field is fitted on a sample, the rest page by page.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object.

        Raises
        ------
        InvalidInputError
            The collection is empty, the limit is too small, `config` is no EnergyConfig, or rows
            have metadata of their own under the names of the row columns.
        """
        self._keeper.build(
            as_config(config),
            row_columns=row_columns,
            memory_limit=memory_limit,
            show_progress_bar=show_progress_bar,
        )
        return self

    def reembed(self, embedding_function: Any, *, show_progress_bar: bool = False) -> Self:
        """Embed all rows again with another function, and take the place of this collection.

        The way to another model or another version of the typesetter. A copy is made beside,
        with a field of its own where there is one; then it gets the collection's name and the
        original is deleted. Until then the original stays as it is and answers. Called again
        after a crash it goes on where it was; a crash between the two renames at the end is
        mended by `energy_chroma.recover`.

        Rows written meanwhile are copied too. The collection has a new uuid, so that other
        objects and processes have to open it again by its name.

        Parameters
        ----------
        embedding_function : chromadb EmbeddingFunction
            One that Chroma can store.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object, on the new collection.

        Raises
        ------
        InvalidInputError
            Rows have nothing to embed, or Chroma could not store the function; nothing changes.
        """
        former = self._keeper
        host, pointer = former.host, former.store.pointer()
        # without the lock: other threads go on with the original
        beside = reembedding.copied(host, embedding_function, show_progress_bar=show_progress_bar)
        fresh = CollectionKeeper(ChromaHost(beside), watch=former.watch, device=former.device)
        if pointer is not None:
            config, row_columns = checkup.salvage(former.store)
            fresh.build(
                as_config(config),
                row_columns=row_columns,
                memory_limit=None,
                show_progress_bar=show_progress_bar,
            )
        with former.lock:
            late = reembedding.swap(host, beside)
            former.host, former.store, former.live = fresh.host, fresh.store, fresh.live
            if late and former.live is not None:
                former.refresh(show_progress_bar=show_progress_bar)
        return self

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
        *,
        n_probe: int | Literal["all"] | None = None,
        candidates: int | None = None,
    ) -> QueryResult:
        """The rows of least energy distance to each query.

        Parameters, errors and result are those of ``collection.query``; the filters are applied
        before ranking, so that they shorten a result only where fewer rows match.

        Parameters
        ----------
        include : sequence of str
            As in Chroma; ``"energies"`` adds the terms of each distance.
        n_probe : int or "all", optional
            Voronoi cells of the field to look into, the nearest ones; see
            `energy_plugin.energy.EnergyIndex.search`. Fewer are faster, all are exact.
        candidates : int, optional
            Rank this many rows of Chroma's own search, in place of the field's. Where that
            finds fewer than `n_results`, as it may with filters, the field is searched.

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
        if candidates is not None:
            candidates = as_k(candidates, name="candidates")
        with self._keeper.lock:
            # before the texts are embedded, which may take longer than anything else
            field = self._keeper.open(check=self._keeper.watch)
        request = self._keeper.host.prepare_query(
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
        fields = result.fetched(include, loader=self._keeper.host.has_loader)
        with self._keeper.lock:
            hits = query.find(
                field,
                queries,
                query.Plan(
                    k=n_results,
                    filters=filters,
                    include=fields,
                    watch=self._keeper.watch,
                    n_probe=n_probe,
                    candidates=candidates,
                ),
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
        return self._keeper.host.count()

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
        with self._keeper.lock:
            field = self._keeper.open_if_built()
            limited = {} if limit is None else {"limit": limit}  # unknown to Chroma 1.5.0
            answer = self._keeper.host.patience.call(
                lambda: self.collection.delete(ids, where, where_document, **limited)
            )
            if field is not None:
                scope = [ids] if isinstance(ids, str) else ids
                present = set(self._keeper.host.ids(ids=scope))
                touched = field.rows.ids if scope is None else scope
                gone = [n for n in touched if n in field.rows and n not in present]
                field.discard(gone)
                # their stored columns are idle until the next generation leaves them out
                field.pending = field.pending | Changes(removed=tuple(gone))
        return answer

    def modify(
        self, name: str | None = None, metadata: Any = None, configuration: Any = None
    ) -> None:
        """Rename or configure the collection: ``collection.modify``.

        As in Chroma, `metadata` replaces what there was.

        Raises
        ------
        ForeignFieldError
            The embedding function of `configuration` makes other vectors than the stored ones.
            Chroma itself would find that out after storing it. See `reembed`.
        InvalidInputError
            Metadata of a type that Chroma does not take, or a function that it cannot store.
        """
        with self._keeper.lock:
            function = (configuration or {}).get("embedding_function")
            if function is not None:
                reembedding.refuse_other(self._keeper.host, function, self._keeper.store.pointer())
            self._keeper.host.modify(name, metadata, configuration)

    # -- inside

    def _write(self, verb: str, **given: Any) -> None:
        with self._keeper.lock:
            field = self._keeper.open_if_built()
        # without the lock, as embedding can take longer than anything else
        request: Any = None if field is None else self._keeper.host.prepare_write(verb, **given)
        with self._keeper.lock:
            field = None if request is None else self._keeper.open_if_built()
            if field is None or request["embeddings"] is None:
                getattr(self.collection, verb)(**given)
            elif not writing.write(self._keeper.store, field, verb, request):
                self._keeper.live = None
