"""Vectors of candidates: from the document, else from the host by id, else from the text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.candidates.hosts import Host

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The documents that a retriever found.

    Parameters
    ----------
    ids : sequence of str or None, length c
        Keys in the host.
    texts : sequence of str, length c
    vectors : sequence of (ndarray of shape (d,) or None), length c
        What is known so far.
    """

    ids: Sequence[str | None]
    texts: Sequence[str]
    vectors: Sequence[Vector | None]

    @classmethod
    def found(
        cls,
        ids: Sequence[str | None],
        texts: Sequence[str | None],
        vectors: Sequence[Any],
        host: Host | None = None,
    ) -> Candidates:
        """Candidates with the vectors that they carry, and the host's for the others.

        Parameters
        ----------
        ids, texts, vectors : sequences of length c
            None where a document has none.
        host : Host, optional

        Raises
        ------
        InvalidInputError
            A document carries something that is not a vector.
        """
        known = [_as_vector(v, i) for v, i in zip(vectors, ids, strict=True)]
        wanted = [i for i, v in zip(ids, known, strict=True) if v is None and i is not None]
        if host is not None and wanted:
            stored = host.vectors(wanted)
            known = [
                stored.get(i) if v is None and i is not None else v
                for v, i in zip(known, ids, strict=True)
            ]
        return cls(list(ids), [text or "" for text in texts], known)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def missing(self) -> list[int]:
        """Positions whose text has to be embedded; blank texts are not among them."""
        return [
            at
            for at, (vector, text) in enumerate(zip(self.vectors, self.texts, strict=True))
            if vector is None and text.strip()
        ]

    def embedded(self, vectors: Any) -> Candidates:
        """The candidates with vectors of the `missing` ones, in that order."""
        known = list(self.vectors)
        for at, vector in zip(self.missing, vectors, strict=True):
            known[at] = _as_vector(vector, self.ids[at])
        return replace(self, vectors=known)

    def matrix(self, dim: int) -> NDArray[np.float32]:
        """All vectors, (c, dim); zeros, which rank last, for a blank text without a vector.

        Raises
        ------
        InvalidInputError
            A vector is missing, or has other dimensions than the query.
        """
        matrix = np.zeros((len(self), dim), dtype=np.float32)
        missing = set(self.missing)
        for at, vector in enumerate(self.vectors):
            if at in missing:
                raise InvalidInputError(
                    f"Candidate {at} (id {self.ids[at]!r}) has no vector: none on the document, "
                    "none in the host under its id, and no embedding model for its text. "
                    "Pass the embedding model that made the query's vector."
                )
            if vector is None:
                continue
            if len(vector) != dim:
                raise InvalidInputError(
                    f"Candidate {at} (id {self.ids[at]!r}) has a vector of {len(vector)} "
                    f"dimensions, the query has {dim}. Both must come from one embedding model."
                )
            matrix[at] = vector
        return matrix


def keys_of(metadata: Iterable[Mapping[str, Any]]) -> set[str]:
    """All keys of some documents' metadata."""
    return set().union(*metadata)


def lexical_scores(
    values: Sequence[Any], name: str, keys: Collection[str] | None = None
) -> NDArray[np.float32]:
    """Scores of another retriever, (c,); 0 where a document has none, which is None.

    Parameters
    ----------
    values : sequence of length c
    name : str
        Where they were found.
    keys : collection of str, optional
        Where they could have been found: `keys_of` the documents' metadata.

    Raises
    ------
    InvalidInputError
        A score is not a number of at least 0, or no document has that key.
    """
    if keys is not None and name not in keys:
        raise InvalidInputError(
            f"No candidate has the key {name!r} that lexical_key names; their metadata has "
            f"{sorted(keys)}. Name the key that the full-text retriever sets, with 0 if no word "
            "matches, or leave lexical_key out."
        )
    scores = np.zeros(len(values), dtype=np.float32)
    for at, value in enumerate(values):
        if value is None:
            continue
        number = isinstance(value, (int, float, np.integer, np.floating))
        if isinstance(value, bool) or not number or not 0 <= value < np.inf:
            raise InvalidInputError(
                f"Candidate {at} has the lexical score {value!r:.80} in {name!r}; expected a "
                "finite number of at least 0, more for a better match. Name the key of such scores."
            )
        scores[at] = value
    return scores


def _as_vector(value: Any, name: str | None) -> Vector | None:
    if value is None:
        return None
    try:
        vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        vector = np.empty((0, 0), dtype=np.float32)
    if vector.ndim != 1 or len(vector) == 0:
        raise InvalidInputError(
            f"The document with id {name!r} has {type(value).__name__} as its vector, expected "
            "a sequence of numbers. Remove it, or name the key that has the vector."
        )
    return vector
