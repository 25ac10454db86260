"""What forgetting costs: quality of search against the bits that rows keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from energy_plugin.energy import EnergyConfig, EnergyIndex
from energy_plugin.energy.codec.codes import code_bytes
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import measure
from energy_plugin.evaluation.ranking import rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import CollectionVectors
from energy_plugin.forgetting import Schedule

DEPTH = 100
FULL = 8
OLDEST_DAYS = 730.0  # ages of the trial of a schedule: even from 0 to here


@dataclass(frozen=True)
class Fidelity:
    """Quality at one fidelity.

    Attributes
    ----------
    name : str
        Bits a dimension, or the schedule by age.
    bytes_per_row : float
        Of the residual codes.
    kept : float
        Share of the ten nearest rows at 8 bits that are among the ten nearest now.
    ndcg, recall : float
        nDCG@10 and recall@100 of the judgements.
    """

    name: str
    bytes_per_row: float
    kept: float
    ndcg: float
    recall: float

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives."""
        return asdict(self)


def fidelity(
    collection: JudgedCollection,
    vectors: CollectionVectors,
    schedule: Schedule | None = None,
    *,
    seed: int = 0,
) -> list[Fidelity]:
    """Search one index with ever fewer bit planes, then one in which rows have all ages.

    Parameters
    ----------
    schedule : Schedule, optional
        The default one unless given. Rows get ages evenly from 0 to 730 days in an order
        that `seed` shuffles, so that age has nothing to do with relevance.

    Returns
    -------
    list of Fidelity
        Cosine on the vectors themselves; 8, 4, 2 and 1 bits; the schedule.
    """
    config, dim = EnergyConfig(bits=FULL), vectors.corpus.shape[1]
    index = EnergyIndex.fit(vectors.corpus, config)
    columns = index.columns
    full = rank_by_energy(index, vectors.queries, DEPTH)
    rows = np.arange(len(vectors.corpus))

    def scored(name: str, size: float, ranking: Any) -> Fidelity:
        pairs = zip(full[:, :10], ranking[:, :10], strict=True)
        kept = float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))
        means = measure(collection, ranking).mean
        return Fidelity(name, size, kept, means["ndcg@10"], means["recall@100"])

    cosine = rank_by_cosine(vectors.corpus, vectors.queries, DEPTH)
    out = [scored("cosine, float32", 4.0 * dim, cosine)]
    out.append(scored(f"{FULL} bits", code_bytes(dim, FULL), full))
    for bits in (4, 2, 1):
        index.lower(rows, bits)
        ranking = rank_by_energy(index, vectors.queries, DEPTH)
        out.append(scored(f"{bits} bit{'s' * (bits > 1)}", code_bytes(dim, bits), ranking))

    ages = np.random.default_rng(seed).permutation(np.linspace(0, OLDEST_DAYS, len(rows)))
    plan = (schedule or Schedule()).plan(ages, FULL, dim)
    mixed = EnergyIndex.from_columns(index.field, columns)
    for bits, some in plan.by_bits.items():
        mixed.lower(some, bits)
    ranking = rank_by_energy(mixed, vectors.queries, DEPTH)
    out.append(scored("schedule, ages even", plan.bytes_after / len(rows), ranking))
    return out
