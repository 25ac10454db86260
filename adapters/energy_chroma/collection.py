"""A Chroma collection that ranks by energy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import GetResult, QueryResult, Where, WhereDocument
from numpy.typing import NDArray

from energy_chroma import checkup, query, questions, reembedding, result
from energy_chroma.host import ChromaHost
from energy_chroma.keeper import CollectionKeeper
from energy_chroma.writes import CollectionWrites
from energy_plugin.energy.config import as_config
from energy_plugin.stored.passing import passed_on
from energy_plugin.validation import as_interval, as_k

if TYPE_CHECKING:
    from typing_extensions import Self

    from energy_plugin.energy import EnergyConfig
    from energy_plugin.stored import Finding, RepairReport

# Members of Chroma's collection that only read.
PASSED_ON = frozenset(
    {"configuration", "configuration_json", "database", "id", "metadata", "schema", "tenant"}
)


class EnergyCollection(CollectionWrites):
    """Energy ranking for a Chroma collection.

    The collection stays an ordinary Chroma collection. The plugin stores everything in Chroma
    itself, in a companion collection and in three metadata keys of each row.

    Parameters
    ----------
    collection : chromadb.Collection
        Of a persistent, ephemeral or HTTP client.
    watch : bool, default True
        Check in every query for rows that were added, deleted or changed without this object
        (about 2 to 5 ms per query). Hits are always checked, so deleted rows never appear.
    device : str, optional
        Device for the computation: ``"cuda"``, ``"mps"``, ``"cpu"``.
    read_consistency_interval : float or timedelta, optional
        How old the results may be, in seconds: within that time after a check for changes, queries
        do not check again. Writes of this object are always seen, and deleted rows are never
        shown. By default, every query checks.

    Raises
    ------
    InvalidInputError
        Not a Chroma collection, or the interval is not a time.

    Examples
    --------
    >>> energy = EnergyCollection(collection).build()
    >>> energy.query(query_texts=["flow past a wedge"], n_results=10, where={"year": 1958})
    """

    def __init__(
        self,
        collection: Collection,
        *,
        watch: bool = True,
        device: str | None = None,
        read_consistency_interval: float | timedelta | None = None,
    ) -> None:
        self._keeper: CollectionKeeper
        interval = as_interval(read_consistency_interval)
        host = ChromaHost(collection)
        super().__init__(CollectionKeeper(host, watch=watch, device=device, interval=interval))

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
        lexical: bool | str | None = None,
        memory_limit: int | str | None = None,
        show_progress_bar: bool = False,
    ) -> Self:
        """Fit the energy field to all rows and store its columns in Chroma.

        An existing field stays readable until the new generation replaces it.

        Parameters
        ----------
        config : EnergyConfig, optional
            Settings of the field.
        row_columns : bool, default True
            Also write ``energy_lambda``, ``energy_dispersion`` and ``energy_cell`` into each
            row's metadata, for people and for ``where`` (25 s per 100,000 rows). Search does
            not need them.
        lexical : bool or str, optional
            Also keep the words of the documents, for ``query(hybrid=True)``: True for English, or
            the language of the texts, see `energy_plugin.lexical.Tokenizer`. Takes some 200 bytes
            for a row with a hundred different words. By default, as in the current field.
        memory_limit : int or str, optional
            Bytes, or ``"2 GB"``, that the build may take beyond the current memory of process and
            Chroma. If all rows need more, the field is fitted on a sample, and the other rows are
            mapped page by page.
        show_progress_bar : bool, default False

        Returns
        -------
        EnergyCollection
            This object.

        Raises
        ------
        InvalidInputError
            The collection is empty, the limit is too small, `config` is not an EnergyConfig, the
            language is unknown, or rows already have metadata under the names of the row columns.
        """
        self._keeper.build(
            as_config(config),
            row_columns=row_columns,
            memory_limit=memory_limit,
            show_progress_bar=show_progress_bar,
            language=self._keeper.language(lexical),
        )
        return self

    # -- health

    def verify(self, *, reach: bool = False) -> list[Finding]:
        """Look for damage; reads everything, changes nothing.

        Parameters
        ----------
        reach : bool, default False
            Also query Chroma's own search with the rows' own vectors (an even sample of 20,000),
            and report the rows that it does not find as ``"unreachable"``. Energy search finds
            them.

        Returns
        -------
        list of Finding
            The worst first; empty if there are no problems.
        """
        with self._keeper.asking_chroma(reach):
            return super().verify()

    def repair(
        self, *, rebuild: bool = False, reach: bool = False, show_progress_bar: bool = False
    ) -> RepairReport:
        """Fix what `verify` finds.

        Parameters
        ----------
        rebuild : bool, default False
            Build a new field if there is none, or if the existing one cannot be used. This
            restores lost bit planes, and also replaces a field that only looks foreign.
        reach : bool, default False
            Also rewrite the vectors of rows that Chroma's own search does not find.
        show_progress_bar : bool, default False

        Returns
        -------
        RepairReport
            What was found, and what remains.
        """
        with self._keeper.asking_chroma(reach):
            return super().repair(rebuild=rebuild, show_progress_bar=show_progress_bar)

    def reembed(self, embedding_function: Any, *, show_progress_bar: bool = False) -> Self:
        """Embed all rows with another function, in a new collection that takes over the name.

        Use this to change to another model or another version of the typesetter. The rows are
        copied, and the copy gets its own field if the original has one. Then the copy gets the
        collection's name, and the original is deleted; until then, the original answers queries.
        After a crash, call it again to resume. If the crash was between the two renames at the
        end, `energy_chroma.recover` finishes them.

        Rows written meanwhile are copied too. The collection has a new uuid, so other objects and
        processes must open it again by its name.

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
            Some rows have nothing to embed, or Chroma could not store the function. Nothing
            changes.
        """
        former = self._keeper
        host, pointer = former.host, former.store.pointer()
        # without the lock: other threads go on with the original
        beside = reembedding.copied(host, embedding_function, show_progress_bar=show_progress_bar)
        fresh = CollectionKeeper(ChromaHost(beside), watch=former.watch, device=former.device)
        if pointer is not None:
            left = checkup.salvage(former.store)
            fresh.build(
                as_config(left.config),
                row_columns=left.row_columns,
                memory_limit=None,
                show_progress_bar=show_progress_bar,
                language=left.language,
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
        hybrid: bool = False,
        lexical_weight: float | None = None,
        min_relevance: float | None = None,
    ) -> QueryResult:
        """The rows with the smallest energy distance to each query.

        Parameters, errors and result are those of ``collection.query``; the filters are applied
        before ranking, so a result is short only if fewer rows match.

        Parameters
        ----------
        include : sequence of str
            As in Chroma; ``"energies"`` adds the terms of each distance.
        n_probe : int or "all", optional
            Number of nearest Voronoi cells to search; see
            `energy_plugin.energy.EnergyIndex.search`. Fewer cells are faster; ``"all"`` is exact.
        candidates : int, optional
            Rank this many rows of Chroma's own search instead of searching the field. If Chroma
            finds fewer than `n_results`, which can happen with filters, the field is searched.
        hybrid : bool, default False
            Rank by the words of `query_texts` too, after ``build(lexical=True)``. Query vectors
            of another model may be given along with the texts, one for each.
        lexical_weight : float, optional
            Share of the words, 0 (vectors alone) to 1 (words alone). By default, the share learned
            from the rows when the field was built.
        min_relevance : float, optional
            Leave out hits with a smaller relevance, 0 to 1. Below
            `energy_plugin.energy.result.CUT_OFF`, a hit is probably unrelated to the query.

        Returns
        -------
        QueryResult
            ``distances`` are energy distances, ascending. An additional key, ``relevance``, has a
            number from 0 to 1 for every hit, on the same scale in every collection.

        Raises
        ------
        NotBuiltError
            The collection has no energy field, or no words for a hybrid query.
        InvalidInputError
            A query vector has the wrong dimension or is not finite, `include` is not a list of
            names, or a hybrid query has no texts.
        CorruptFieldError, ForeignFieldError
            The stored field cannot be used; the message says what to do.
        """
        from energy_plugin.validation import as_relevance

        include = result.checked(include)
        given = {
            "query_embeddings": query_embeddings,
            "query_texts": query_texts,
            "query_images": query_images,
            "query_uris": query_uris,
            "ids": ids,
            "n_results": n_results,
            "where": where,
            "where_document": where_document,
        }
        texts = questions.words_of(given, hybrid=hybrid, weight=lexical_weight)
        if candidates is not None:
            candidates = as_k(candidates, name="candidates")
        with self._keeper.lock:
            due, now = self._keeper.due(), time.monotonic()
            # before the texts are embedded, which may take longer than anything else
            field = self._keeper.open(check=self._keeper.watch and due)
            if hybrid:
                questions.require_words(field)
        asked = questions.prepared(field, given, include, texts)
        with self._keeper.lock:
            look = self._keeper.look(field, due=due)
            hits = query.find(
                field,
                asked.vectors,
                query.Plan(
                    k=n_results,
                    filters=asked.filters,
                    include=asked.fields,
                    look=look,
                    n_probe=n_probe,
                    candidates=candidates,
                    texts=asked.texts,
                    lexical_weight=lexical_weight,
                    min_relevance=as_relevance(min_relevance),
                ),
            )
            if due:
                self._keeper.looked(field, look, now)
        return result.assemble(hits, asked.include)

    def get(self, *args: Any, **kwargs: Any) -> GetResult:
        """Rows by id or filter: ``collection.get``."""
        return self.collection.get(*args, **kwargs)

    def peek(self, limit: int = 10) -> GetResult:
        """The first rows: ``collection.peek``."""
        return self.collection.peek(limit)

    def count(self) -> int:
        """Rows in the collection: ``collection.count``."""
        return self._keeper.host.count()

    def modify(
        self, name: str | None = None, metadata: Any = None, configuration: Any = None
    ) -> None:
        """Rename or configure the collection: ``collection.modify``.

        As in Chroma, `metadata` replaces all existing metadata.

        Raises
        ------
        ForeignFieldError
            The vectors of the embedding function in `configuration` differ from the stored ones.
            Chroma itself would detect this only after storing it. See `reembed`.
        InvalidInputError
            Chroma does not accept the type of the metadata, or cannot store the function.
        """
        with self._keeper.lock:
            function = (configuration or {}).get("embedding_function")
            if function is not None:
                reembedding.refuse_other(self._keeper.host, function, self._keeper.store.pointer())
            self._keeper.host.modify(name, metadata, configuration)
