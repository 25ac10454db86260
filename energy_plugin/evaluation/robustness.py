"""How much of its ranking an encoder keeps when queries are misspelt, misread or disguised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.ranking import cosine_ndcg
from energy_plugin.evaluation.vectors import CollectionVectors, normalise


@dataclass(frozen=True)
class Robustness:
    """Plain cosine with noisy queries and clean documents.

    Attributes
    ----------
    clean : float
        nDCG@10 with clean queries.
    noisy : mapping of str to float
        nDCG@10 for each kind of noise.
    """

    clean: float
    noisy: Mapping[str, float]

    def kept(self, kind: str) -> float:
        """Share of the clean nDCG@10 that is left."""
        return self.noisy[kind] / self.clean if self.clean > 0 else 0.0


def robustness(
    collection: JudgedCollection,
    vectors: CollectionVectors,
    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]],
    *,
    kinds: Sequence[str],
    share: float,
    seed: int = 0,
) -> Robustness:
    """Measure what noise in the queries costs.

    Parameters
    ----------
    collection : JudgedCollection
    vectors : CollectionVectors
        Of the clean documents and queries.
    embed : callable
        Vectors of noisy queries, (q, d).
    kinds : sequence of str
        See `energy_plugin.optical.training.noise.NOISES`.
    share : float
        Of the words that are disturbed.
    seed : int, default=0
        Of the noise.
    """
    from energy_plugin.optical.training.noise import noisy_text

    noisy = {}
    for kind in kinds:
        texts = [noisy_text(text, kind, share, seed=seed) for text in collection.queries.values()]
        queries = np.zeros_like(vectors.queries)
        filled = [row for row, text in enumerate(texts) if text.strip()]
        queries[filled] = normalise(embed([texts[row] for row in filled]))
        noisy[kind] = cosine_ndcg(collection, vectors.corpus, queries)
    return Robustness(cosine_ndcg(collection, vectors.corpus, vectors.queries), noisy)
