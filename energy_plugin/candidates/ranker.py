"""Candidates in, order by energy out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.candidates.gather import Candidates
from energy_plugin.candidates.hosts import Host, as_host
from energy_plugin.errors import InvalidInputError
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig, EnergyField, Reranking


class CandidateRanker:
    """The part of a reranker that is the same in every framework.

    Parameters
    ----------
    host : object, optional
        See `as_host`. An `EnergyCollection` or `EnergyTable` also gives its field.
    field : EnergyField, optional
        Used instead of the host's field. Without any field, the ranking uses only the candidates.
    config : EnergyConfig, optional
        For ranking without a field.
    id_column : str, default "id"
        LanceDB's column of ids.
    device : str, optional
    """

    def __init__(
        self,
        host: Any = None,
        *,
        field: EnergyField | None = None,
        config: EnergyConfig | None = None,
        id_column: str = "id",
        device: str | None = None,
    ) -> None:
        self.host: Host | None = as_host(host, id_column=id_column)
        self._given = field
        self._config = config
        self._device = device

    def embed_query(
        self, text: str, embed: Callable[[str], Any] | None = None
    ) -> NDArray[np.float32]:
        """Vector of a question, by `embed` if given, otherwise by the host, (d,).

        Raises
        ------
        InvalidInputError
            Neither of the two exists.
        """
        if embed is None:
            if self.host is None:
                raise InvalidInputError(
                    "The query cannot be embedded without a model. Pass an embedding model, or a "
                    "host whose collection has an embedding function."
                )
            embed = self.host.embed_query
        return np.asarray(embed(text), dtype=np.float32)

    def candidates(
        self, ids: Sequence[str | None], texts: Sequence[str | None], vectors: Sequence[Any]
    ) -> Candidates:
        """Candidates with the vectors that they carry or that the host has."""
        return Candidates.found(ids, texts, vectors, self.host)

    def order(
        self,
        query: Any,
        candidates: Candidates,
        k: int | None = None,
        *,
        lexical: Any = None,
        lexical_weight: float | None = None,
    ) -> Reranking:
        """The k nearest candidates, nearest first.

        Parameters
        ----------
        query : array_like of shape (d,)
        candidates : Candidates
            With the vectors of all that have a text.
        k : int, optional
            All of them by default.
        lexical, lexical_weight : optional
            Scores of the candidates by another retriever, and their share; see
            `energy_plugin.energy.EnergyReranker.rerank`.

        Raises
        ------
        InvalidInputError
            There are no candidates, a vector is missing or has another length, or k is not a
            positive integer.
        """
        from energy_plugin.energy import EnergyReranker

        vector = np.asarray(query, dtype=np.float32)
        if vector.ndim != 1:
            raise InvalidInputError(
                f"The vector of a question must have shape (d,), got {vector.shape}."
            )
        if k is not None:
            k = min(as_k(k), len(candidates))
        field = self._given
        if field is None and self.host is not None:
            field = self.host.energy_field()
        reranker = EnergyReranker(field, self._config, device=self._device)
        return reranker.rerank(
            vector,
            candidates.matrix(len(vector)),
            k=k,
            lexical=lexical,
            lexical_weight=lexical_weight,
        )
