r"""nDCG@10, average precision, reciprocal rank and recall, by ir-measures.

==============  ===========================================================================
``ndcg@10``     :math:`\sum_{r=1}^{10} g_r / \log_2(r+1)` over its best possible value; the
                gain is the grade itself (linear, as trec_eval's ``ndcg_cut``)
``map``         mean over the relevant documents of the precision at their rank, 0 for those
                not ranked; relevant means grade > 0
``mrr``         1 over the rank of the first relevant document, 0 without any
``recall@10``   share of the relevant documents among the first 10
``recall@100``  share of the relevant documents among the first 100
==============  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from energy_plugin._lazy import optional
from energy_plugin.evaluation.collection import JudgedCollection

MEASURES = ("ndcg@10", "map", "mrr", "recall@10", "recall@100")


@dataclass(frozen=True)
class Scores:
    """One value a query and measure.

    Attributes
    ----------
    per_query : mapping of str to ndarray of shape (q,), float64
        Measure name to values, in the order of the collection's queries.
    """

    per_query: Mapping[str, npt.NDArray[np.float64]]

    @property
    def mean(self) -> dict[str, float]:
        """Mean over the queries, by measure."""
        return {name: float(values.mean()) for name, values in self.per_query.items()}


def measure(collection: JudgedCollection, ranking: npt.NDArray[np.int64]) -> Scores:
    """Score a ranking of the collection's rows.

    Parameters
    ----------
    collection : JudgedCollection
        Documents and judgements; row i is its i-th document.
    ranking : ndarray of shape (q, k), int64
        Row numbers for each query, best first.

    Raises
    ------
    OptionalDependencyError
        ir-measures is not installed (extra ``eval``).
    """
    documents = list(collection.corpus)
    run = {
        # The rank itself is the score, so that ties stay in the order given.
        query: {documents[row]: float(-rank) for rank, row in enumerate(rows)}
        for query, rows in zip(collection.queries, ranking.tolist(), strict=True)
    }
    return measure_run(collection.qrels, run, list(collection.queries))


def measure_run(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    queries: Sequence[str],
) -> Scores:
    """Score {query: {document: score}}; higher scores rank first."""
    ir = optional("ir_measures", "eval")
    wanted = (ir.nDCG @ 10, ir.AP, ir.RR, ir.R @ 10, ir.R @ 100)
    named: dict[Any, str] = dict(zip(wanted, MEASURES, strict=True))
    row = {query: i for i, query in enumerate(queries)}
    values = {name: np.zeros(len(queries)) for name in MEASURES}
    for metric in ir.iter_calc(list(named), qrels, run):
        if metric.query_id in row:
            values[named[metric.measure]][row[metric.query_id]] = metric.value
    return Scores(values)
