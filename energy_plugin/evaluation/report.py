"""Cosine and energy on one judged collection, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.compare import Comparison, compare
from energy_plugin.evaluation.measures import MEASURES, measure
from energy_plugin.evaluation.ranking import fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import CollectionVectors

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig


@dataclass(frozen=True)
class SetReport:
    """What was measured on one collection.

    Attributes
    ----------
    name : str
        Name of the collection.
    cosine, energy : mapping of str to float
        Mean of each measure.
    comparison : mapping of str to Comparison
        Energy against cosine, by measure.
    documents, empty_documents, queries : int
        Sizes.
    seconds : mapping of str to float
        Wall time of ``cosine``, ``fit`` and ``energy`` (s, all queries).
    """

    name: str
    cosine: Mapping[str, float]
    energy: Mapping[str, float]
    comparison: Mapping[str, Comparison]
    documents: int
    empty_documents: int
    queries: int
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON primitives, ``cosine`` and ``energy`` first."""
        values = asdict(self)
        first = {key: values.pop(key) for key in ("cosine", "energy")}
        return {**first, **values}


def evaluate(
    collection: JudgedCollection,
    vectors: CollectionVectors,
    *,
    k: int = 1000,
    config: EnergyConfig | None = None,
    show_progress_bar: bool = False,
) -> SetReport:
    """Rank every judged query by cosine and by energy, and score both.

    Parameters
    ----------
    k : int
        Depth of both rankings; average precision sees no deeper.
    config : EnergyConfig, optional
        Configuration of the energy field.
    """
    marks = [time.perf_counter()]
    by_cosine = rank_by_cosine(vectors.corpus, vectors.queries, k)
    marks.append(time.perf_counter())
    index = fit_index(vectors.corpus, config, show_progress_bar=show_progress_bar)
    marks.append(time.perf_counter())
    by_energy = rank_by_energy(index, vectors.queries, k)
    marks.append(time.perf_counter())
    cosine, energy = measure(collection, by_cosine), measure(collection, by_energy)
    return SetReport(
        name=collection.name,
        cosine=cosine.mean,
        energy=energy.mean,
        comparison={
            name: compare(cosine.per_query[name], energy.per_query[name]) for name in MEASURES
        },
        documents=len(collection.corpus),
        empty_documents=collection.n_empty,
        queries=len(collection.queries),
        seconds={
            name: end - start
            for name, start, end in zip(("cosine", "fit", "energy"), marks, marks[1:], strict=False)
        },
    )
