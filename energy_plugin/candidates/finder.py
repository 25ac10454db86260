"""A question in, rows of a host out: what the retrievers of the stacks share."""

from __future__ import annotations

from typing import Any

from energy_plugin.candidates.hosts import HybridHost, as_host
from energy_plugin.errors import InvalidInputError
from energy_plugin.stored.database import Hit
from energy_plugin.validation import as_relevance


class Finder:
    """The part of a retriever that is the same in every framework.

    Parameters
    ----------
    host : EnergyCollection, EnergyTable or Host
        See `as_host`.
    hybrid : bool, default False
        Search by words too.
    lexical_weight : float, optional
        Share of the words in a hybrid search, 0 to 1; by default, the host's own.
    min_relevance : float, optional
        Leave out rows with a smaller relevance, 0 to 1; an empty result means "nothing found".
    id_column, text_column : str
        LanceDB's columns of ids and texts.

    Raises
    ------
    InvalidInputError
        There is no host, it does not search by words, or a share is given without words.
    """

    def __init__(
        self,
        host: Any,
        *,
        hybrid: bool = False,
        lexical_weight: float | None = None,
        min_relevance: float | None = None,
        id_column: str = "id",
        text_column: str = "text",
    ) -> None:
        found = as_host(host, id_column=id_column, text_column=text_column)
        if found is None:
            raise InvalidInputError(
                "host must be an EnergyCollection, an EnergyTable or a Host, got None."
            )
        if hybrid and not isinstance(found, HybridHost):
            raise InvalidInputError(
                f"hybrid=True needs a host that searches by words, got {type(host).__name__} "
                "without a method find_hybrid. Implement energy_plugin.candidates.HybridHost."
            )
        if lexical_weight is not None and not hybrid:
            raise InvalidInputError(
                f"lexical_weight is {lexical_weight}, but the search is not hybrid. "
                "Pass hybrid=True."
            )
        self.host = found
        self.hybrid = hybrid
        self.lexical_weight = lexical_weight
        self.min_relevance = as_relevance(min_relevance)

    def find(self, question: str, k: int, where: Any = None, *, vector: Any = None) -> list[Hit]:
        """The k rows nearest to a question, nearest first; fewer if some are not relevant.

        Parameters
        ----------
        question : str
        k : int
        where : optional
            Filter of the host, applied before ranking.
        vector : array_like of shape (d,), optional
            Of the question; the host embeds the text if not given.
        """
        if self.hybrid:
            assert isinstance(self.host, HybridHost)
            found = self.host.find_hybrid(
                question, k, where, vector=vector, lexical_weight=self.lexical_weight
            )
        else:
            found = self.host.find(question if vector is None else vector, k, where)
        if self.min_relevance is None:
            return found
        if any(hit.relevance is None for hit in found):
            raise InvalidInputError(
                f"min_relevance is {self.min_relevance}, but {type(self.host).__name__} gives its "
                "hits no relevance. Leave it out."
            )
        return [hit for hit in found if (hit.relevance or 0.0) >= self.min_relevance]
