"""The hits of Chroma's own query in energy order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.api.types import QueryResult
from numpy.typing import NDArray

from energy_chroma.collection import EnergyCollection
from energy_chroma.fields import ChromaField
from energy_chroma.result import reordered
from energy_plugin.energy.config import as_config
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.stored import Changes
from energy_plugin.stored.comparing import by_vectors
from energy_plugin.validation import as_k, as_queries

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, Reranking


class EnergyReranker:
    """Energy ranking for the results of ``collection.query``.

    With a collection that has an energy field, candidates are ranked by the field and their stored
    columns, as with ``query(candidates=...)``; otherwise by the graph of the candidates and the
    query.

    Parameters
    ----------
    collection : chromadb.Collection or EnergyCollection, optional
        The collection of the results. It embeds text queries and supplies missing vectors. Without
        a collection, results must include their embeddings, and queries must be vectors.
    config : EnergyConfig, optional
        Weights and heats; by default those of the field, if there is one.
    device : str, optional
        Device for the computation.

    Raises
    ------
    InvalidInputError
        `collection` is something else, or `config` is not an EnergyConfig.

    Examples
    --------
    >>> found = collection.query(query_texts=["heat flow"], n_results=100)
    >>> EnergyReranker(collection).rerank(found, "heat flow", n_results=10)
    """

    def __init__(
        self,
        collection: Collection | EnergyCollection | None = None,
        *,
        config: EnergyConfig | None = None,
        device: str | None = None,
    ) -> None:
        if isinstance(collection, Collection):
            collection = EnergyCollection(collection, device=device)
        elif collection is not None and not isinstance(collection, EnergyCollection):
            raise InvalidInputError(
                f"collection must be a chromadb Collection or an EnergyCollection, got "
                f"{type(collection).__name__}. Leave it out to rank by embeddings alone."
            )
        self._energy = collection
        self._config = None if config is None else as_config(config)
        self._device = device

    def rerank(
        self, result: QueryResult, query: Any, *, n_results: int | None = None
    ) -> QueryResult:
        """Order the hits of each query by energy distance.

        Parameters
        ----------
        result : QueryResult
            Result of ``collection.query``. With ``include=["embeddings"]``, nothing has to be
            fetched.
        query : str, sequence of str, or array_like of shape (d,) or (q, d)
            The queries, one per list of the result.
        n_results : int, optional
            Keep only the nearest of each list.

        Returns
        -------
        QueryResult
            The same keys in the new order. ``distances``, if there were any, are energy
            distances; ``scores`` are their negatives, highest first; ``energies`` are the terms
            of each distance. Rows that can no longer be read are left out.

        Raises
        ------
        InvalidInputError
            `result` is not a result of a query, the number of queries differs from the number of
            lists, or vectors are missing and there is no collection to supply them.
        CorruptFieldError, ForeignFieldError
            The stored field cannot be used.
        """
        ids = _ids(result)
        limit = None if n_results is None else as_k(n_results, name="n_results")
        queries = self._vectors_of(query, len(ids))
        given = _embeddings(result, ids)
        if self._energy is not None:
            with self._energy._keeper.lock:
                try:
                    live = self._energy._keeper.open()
                except NotBuiltError:
                    live = None
                if live is not None:
                    kept, found = self._by_field(live, queries, ids, given, limit)
                    return reordered(result, kept, found)
        kept, found = self._alone(queries, ids, given, limit)
        return reordered(result, kept, found)

    def _vectors_of(self, query: Any, count: int) -> NDArray[np.float32]:
        texts = [query] if isinstance(query, str) else query
        if isinstance(texts, (list, tuple)) and texts and isinstance(texts[0], str):
            if self._energy is None:
                raise InvalidInputError(
                    "Query texts need the collection that embeds them: "
                    "EnergyReranker(collection). Or pass query vectors."
                )
            texts = [self._energy.embed_query(text) for text in texts]
        queries = as_queries(texts, _dim(texts), name="query")
        if len(queries) != count:
            raise InvalidInputError(
                f"The result has the hits of {count} queries, got {len(queries)} queries. "
                "Pass one for each list of ids."
            )
        return queries

    def _by_field(
        self,
        live: ChromaField,
        queries: NDArray[np.float32],
        ids: list[list[str]],
        given: dict[str, NDArray[np.float32]] | None,
        limit: int | None,
    ) -> tuple[list[list[int]], list[Reranking]]:
        """Candidates by their columns, brought up to their present vectors first."""
        wanted = list(dict.fromkeys(name for names in ids for name in names))
        if given is None:
            readable, vectors = live.host.vectors(wanted)
            given = dict(zip(readable, vectors, strict=True))
        live.apply(by_vectors(live.rows, given) | Changes(removed=_gone(live, wanted, given)))
        return rank_by_field(live, queries, ids, limit, self._config)

    def _alone(
        self,
        queries: NDArray[np.float32],
        ids: list[list[str]],
        given: dict[str, NDArray[np.float32]] | None,
        limit: int | None,
    ) -> tuple[list[list[int]], list[Reranking]]:
        from energy_plugin.energy import EnergyReranker as Core

        if given is None:
            if self._energy is None:
                raise InvalidInputError(
                    "The result has no embeddings. Query with include=[..., 'embeddings'], or "
                    "name the collection: EnergyReranker(collection)."
                )
            wanted = list(dict.fromkeys(name for names in ids for name in names))
            readable, vectors = self._energy._keeper.host.vectors(wanted)
            given = dict(zip(readable, vectors, strict=True))
        core = Core(None, self._config, device=self._device)
        kept = [[place for place, name in enumerate(names) if name in given] for names in ids]
        found = []
        for query, names, places in zip(queries, ids, kept, strict=True):
            rows = [given[names[place]] for place in places]
            matrix = np.stack(rows) if rows else np.zeros((0, len(query)), dtype=np.float32)
            found.append(core.rerank(query, matrix, k=limit))
        return kept, found


def rank_by_field(
    live: ChromaField,
    queries: NDArray[np.float32],
    ids: Sequence[Sequence[str]],
    limit: int | None,
    config: EnergyConfig | None = None,
) -> tuple[list[list[int]], list[Reranking]]:
    """Order rows by the field and their columns, as a search among these rows alone does.

    Returns
    -------
    kept : list of list of int
        Places of the known rows in each list of ids.
    found : list of Reranking
        Their order, a list per query.
    """
    kept = [[place for place, name in enumerate(names) if name in live.rows] for names in ids]
    found = []
    for query, names, places in zip(queries, ids, kept, strict=True):
        numbers = live.rows.numbers([names[place] for place in places])
        rank = _searched if config is None else _with_config
        found.append(rank(live, query, numbers, limit, config))
    return kept, found


def _searched(
    live: ChromaField,
    query: NDArray[np.float32],
    numbers: NDArray[np.int64],
    limit: int | None,
    _: EnergyConfig | None,
) -> Reranking:
    from energy_plugin.energy import EnergyTerms, Reranking

    found = live.search(query[None], limit or max(1, len(numbers)), np.unique(numbers), "all")
    if found is None:
        none = np.empty(0, dtype=np.float32)
        return Reranking(np.empty(0, dtype=np.int64), none, EnergyTerms(none, none, none))
    by_number = np.argsort(numbers, kind="stable")
    order = by_number[np.searchsorted(numbers[by_number], found.ids[0])]
    terms = found.terms
    return Reranking(
        order,
        found.distances[0],
        EnergyTerms(terms.lambda_[0], terms.dispersion[0], terms.dirichlet[0]),
    )


def _with_config(
    live: ChromaField,
    query: NDArray[np.float32],
    numbers: NDArray[np.int64],
    limit: int | None,
    config: EnergyConfig | None,
) -> Reranking:
    from energy_plugin.energy import EnergyReranker as Core

    core = Core(live.index.field, config, device=live.index.device)
    return core.rerank(query, None, columns=live.columns_of(numbers), k=limit)


def _dim(query: Any) -> int:
    """Length of the last axis; 0 for what `as_queries` refuses."""
    try:
        return int(np.shape(query)[-1])
    except (ValueError, IndexError):
        return 0


def _gone(live: ChromaField, wanted: list[str], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Rows of the index that the host no longer has."""
    absent = [name for name in wanted if name not in given and name in live.rows]
    present = set(live.host.ids(ids=absent)) if absent else set()
    return tuple(name for name in absent if name not in present)


def _ids(result: Any) -> list[list[str]]:
    ids = result.get("ids") if isinstance(result, Mapping) else None
    if not isinstance(ids, list) or not all(isinstance(names, list) for names in ids):
        raise InvalidInputError(
            f"result must be a result of collection.query, got {type(result).__name__}"
            f"{'' if ids is None else ' whose ids are not lists of ids'}. A result of "
            "collection.get does not work: it has no queries."
        )
    return ids


def _embeddings(result: Any, ids: list[list[str]]) -> dict[str, NDArray[np.float32]] | None:
    """The result's own vectors by id; None where it has none."""
    lists = result.get("embeddings")
    if lists is None:
        return None
    found: dict[str, NDArray[np.float32]] = {}
    for names, vectors in zip(ids, lists, strict=True):
        found.update(zip(names, np.asarray(vectors, dtype=np.float32), strict=True))
    return found
