"""What energy does where cosine has no answer: drift, the tail, duplicates and hubs, outliers.

========== ===================================================================
drift      field fitted on one collection, the rows of the others added without a refit
tail       recall@100 of the queries on which both rankings have the same nDCG@10
hubness    skewness of N_10, how often a row is among the ten nearest of another
           (Radovanović, Nanopoulos and Ivanović 2010); copies: near-duplicates of rows,
           by how much nDCG@10 falls when each copy takes a place of its original's ranking
outliers   rows of random directions among the rows; area under the ROC curve of telling
           them by λ, by G, and by the distance to the nearest row (1 − cosine)
========== ===================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import measure
from energy_plugin.evaluation.ranking import fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import CollectionVectors

FloatArray = npt.NDArray[np.float32]

DEPTH = 1000
TIE = 1e-9
COPY_NOISE = 0.05  # length of the noise that makes a copy a near-duplicate
SHARE = 0.1  # of the rows that are copied
OUTLIERS = 0.02  # random rows beside the real ones


def drift(
    collections: Sequence[JudgedCollection], vectors: Sequence[CollectionVectors]
) -> dict[str, dict[str, float]]:
    """NDCG@10 of each collection's queries over all rows, with the first one's field and a new one.

    Returns
    -------
    dict
        By collection: ``cosine``, ``added`` (field of the first collection, rows of the others
        added), ``rebuilt`` (field of all rows). Under ``"field"``: ``distortion`` and
        ``lambda_shift`` of `EnergyIndex.drift` after the rows were added.
    """
    rows = np.concatenate([each.corpus for each in vectors])
    added = fit_index(vectors[0].corpus)
    for each in vectors[1:]:
        added.add(each.corpus)
    rebuilt = fit_index(rows)
    moved = added.drift()
    out = {"field": {"distortion": moved.distortion, "lambda_shift": moved.lambda_shift}}
    start = 0
    for collection, each in zip(collections, vectors, strict=True):
        stop = start + len(each.corpus)

        def ndcg(ranked: npt.NDArray[np.int64], which: JudgedCollection = collection) -> float:
            # rows of other collections keep their places and are not answers
            own = np.where((ranked >= start) & (ranked < stop), ranked - start, -1)  # noqa: B023
            return _ndcg(which, own)

        out[collection.name] = {
            "cosine": ndcg(rank_by_cosine(rows, each.queries, 10)),
            "added": ndcg(rank_by_energy(added, each.queries, 10)),
            "rebuilt": ndcg(rank_by_energy(rebuilt, each.queries, 10)),
        }
        start = stop
    return out


def _ndcg(collection: JudgedCollection, ranked: npt.NDArray[np.int64]) -> float:
    """Linear-gain nDCG@10 of rankings in which −1 stands for a row that is not judged."""
    documents = list(collection.corpus)
    discount = 1 / np.log2(np.arange(2, 12))
    values = []
    for query, row in zip(collection.queries, ranked, strict=True):
        grades = collection.qrels[query]
        gains = [max(0, grades.get(documents[r], 0)) if r >= 0 else 0 for r in row[:10]]
        best = sorted((g for g in grades.values() if g > 0), reverse=True)[:10]
        values.append(gains @ discount[: len(gains)] / (best @ discount[: len(best)]))
    return float(np.mean(values))


def tail(collection: JudgedCollection, vectors: CollectionVectors) -> dict[str, float]:
    """Recall@100 of both rankings over the queries with equal nDCG@10."""
    cosine = measure(collection, rank_by_cosine(vectors.corpus, vectors.queries, DEPTH)).per_query
    index = fit_index(vectors.corpus)
    energy = measure(collection, rank_by_energy(index, vectors.queries, DEPTH)).per_query
    equal = np.abs(cosine["ndcg@10"] - energy["ndcg@10"]) < TIE
    return {
        "queries": float(equal.sum()),
        "cosine": float(cosine["recall@100"][equal].mean()) if equal.any() else 0.0,
        "energy": float(energy["recall@100"][equal].mean()) if equal.any() else 0.0,
    }


def skewness(values: npt.NDArray[np.int64]) -> float:
    """Third standardised moment; 0 where all are equal."""
    gap = values - values.mean()
    spread = float(np.sqrt((gap**2).mean()))
    return float((gap**3).mean() / spread**3) if spread > 0 else 0.0


def hubs(
    collection: JudgedCollection, vectors: CollectionVectors, *, seed: int = 0
) -> dict[str, float]:
    """Skewness of N_10, and nDCG@10 lost where a tenth of the rows has a near-duplicate."""
    rng = np.random.default_rng(seed)
    rows, queries = vectors.corpus, vectors.queries
    n = len(rows)
    index = fit_index(rows)
    out = {}
    for name, ranked in (
        ("cosine", rank_by_cosine(rows, rows, 11)),
        ("energy", rank_by_energy(index, rows, 11)),
    ):
        others = ranked[ranked != np.arange(n)[:, None]]
        out[f"{name} hubness"] = skewness(np.bincount(others, minlength=n))
    copied = np.sort(rng.choice(n, max(1, int(SHARE * n)), replace=False))
    noise = rng.standard_normal((len(copied), rows.shape[1])).astype(np.float32)
    noise *= COPY_NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    more = np.concatenate([rows, rows[copied] + noise])
    more /= np.maximum(np.linalg.norm(more, axis=1, keepdims=True), 1e-12)
    crowded = fit_index(more)
    for name, before, after in (
        ("cosine", rank_by_cosine(rows, queries, 10), rank_by_cosine(more, queries, 10)),
        ("energy", rank_by_energy(index, queries, 10), rank_by_energy(crowded, queries, 10)),
    ):
        plain = _ndcg(collection, before)
        out[f"{name} ndcg@10"] = plain
        out[f"{name} with copies"] = _ndcg(collection, np.where(after < n, after, -1))
    return out


def outliers(vectors: CollectionVectors, *, seed: int = 0) -> dict[str, float]:
    """Area under the ROC curve of telling random rows from real ones."""
    rng = np.random.default_rng(seed)
    rows = vectors.corpus[np.abs(vectors.corpus).sum(1) > 0]
    count = max(1, int(OUTLIERS * len(rows)))
    mean = rows.mean(0)
    strange = rng.standard_normal((count, rows.shape[1])).astype(np.float32)
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    strange = strange + mean  # as near to the mean row as the others are
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    everything = np.concatenate([rows, strange])
    index = fit_index(everything)
    is_outlier = np.arange(len(everything)) >= len(rows)
    similarity = everything @ everything.T
    np.fill_diagonal(similarity, -1)
    columns = index.columns
    return {
        "lambda": area(columns.lambda_, is_outlier),
        "dispersion": area(columns.dispersion, is_outlier),
        "nearest row": area(1 - similarity.max(1), is_outlier),
    }


def area(values: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann–Whitney U, ties by half): 0.5 is chance."""
    from scipy.stats import rankdata

    ranks = rankdata(values)
    p, q = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * q))
