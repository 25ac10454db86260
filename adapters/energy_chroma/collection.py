"""A Chroma collection that ranks by energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import GetResult, QueryResult, Where, WhereDocument
from numpy.typing import NDArray

from energy_chroma import query, reembedding, result, writing
from energy_chroma.keeper import FieldKeeper
from energy_chroma.staleness import Changes
from energy_plugin.validation import as_k, as_queries


class EnergyCollection(FieldKeeper):
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
        super().__init__(collection, verify=verify, device=device)

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

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question by the collection's own embedding function, (d,) float32."""
        return self._host.embed_query(text)

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
                query.Plan(
                    k=n_results,
                    filters=filters,
                    include=fields,
                    verify=self._verify,
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
            limited = {} if limit is None else {"limit": limit}  # unknown to Chroma 1.5.0
            answer = self._host.patience.call(
                lambda: self.collection.delete(ids, where, where_document, **limited)
            )
            if field is not None:
                scope = [ids] if isinstance(ids, str) else ids
                present = set(self._host.ids(ids=scope))
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
        with self._lock:
            function = (configuration or {}).get("embedding_function")
            if function is not None:
                reembedding.refuse_other(self._host, function, self._store.pointer())
            self._host.modify(name, metadata, configuration)

    # -- inside

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
