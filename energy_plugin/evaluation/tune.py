"""Settings for one collection, chosen by labelled queries or by the collection itself.

With labels, every candidate is scored by nDCG@10 on all queries. Cross-validation estimates the
gain: in each fold, the best candidate of the other folds ranks the held-out queries. The best
candidate is returned only if these rankings are better than those of the defaults.

Without labels, rows become questions: a row with added noise must find that row (grade 2) and the
rows that are mutually among its nearest (grade 1). The noise is chosen so that cosine ranks the
row first about two times in three. Heat and metric gain if they move related rows together, and
lose if they blur a row into its neighbours. The judgements come from the collection's own
geometry, not from a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.ranking import fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import normalise
from energy_plugin.validation import as_vectors

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

Floats = npt.NDArray[np.float64]
Grades = Sequence[Mapping[int, float]]

# Share of each default that a candidate may take.
FACTORS: Mapping[str, tuple[float, ...]] = {
    "heat": (0.0, 0.5, 1.0, 1.5, 2.0),
    "local_heat": (0.0, 0.5, 0.8, 1.0, 1.2),
    "query_heat": (0.0, 0.5, 1.0, 2.0),
    "gamma_floor": (0.5, 1.0, 2.0, 4.0),
    "centring": (0.5, 1.0, 1.5),
    "weight_lambda": (0.0, 1.0, 20.0),
}
DEPTH = 10
FOUND_FIRST = 2 / 3
MAX_QUESTIONS = 300


@dataclass(frozen=True)
class Tuned:
    """Result of `tune`.

    Attributes
    ----------
    config : EnergyConfig
        The chosen settings; the base itself if no candidate was shown to be better.
    labelled : bool
        Whether labelled queries were used, or the collection itself.
    default, best : float
        Mean nDCG@10 of the base and of the chosen settings on all questions.
    held_out : float
        Mean nDCG@10 on held-out questions of the settings chosen without them.
    trials : list of dict
        Settings that differ from the base, and their mean nDCG@10.
    """

    config: EnergyConfig
    labelled: bool
    default: float
    best: float
    held_out: float
    trials: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives."""
        return {**asdict(self), "config": self.config.to_dict()}


def tune(
    vectors: Any,
    queries: Any = None,
    grades: Grades | None = None,
    *,
    base: EnergyConfig | None = None,
    trials: int = 24,
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[int], None] = lambda trials: None,
) -> Tuned:
    """Choose settings for a collection.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
    queries : array_like of shape (q, d), optional
        Labelled queries; by default, rows of the collection are the queries.
    grades : sequence of mappings of int to float, optional
        For each query, row number to grade; rows that are not named have grade 0.
    base : EnergyConfig, optional
        Settings from which candidates differ; the default recipe if not given.
    trials : int, default=24
        Number of candidates, including the base.
    folds : int, default=5
        Of the cross-validation.
    seed : int, default=0
        Of candidates, folds and noise.
    progress : callable
        Called with 1 after each trial.

    Raises
    ------
    InvalidInputError
        Queries without grades, too few questions for the folds, or bad numbers.
    """
    from energy_plugin.energy.config import as_config

    if trials < 1 or folds < 2:
        raise InvalidInputError(
            f"tune needs trials >= 1 and folds >= 2, got trials={trials} and folds={folds}."
        )
    if (queries is None) != (grades is None):
        raise InvalidInputError("tune needs queries and grades together, or neither of them.")
    config = as_config(base)
    rows = normalise(as_vectors(vectors))
    rng = np.random.default_rng(seed)
    wanted: Grades
    if queries is None or grades is None:
        asked, wanted = own_questions(rows, rng)
    else:
        asked, wanted = normalise(as_vectors(queries, dim=rows.shape[1])), grades
    if len(asked) != len(wanted) or len(asked) < folds:
        raise InvalidInputError(
            f"tune got {len(asked)} questions, {len(wanted)} sets of grades and {folds} folds; "
            "it needs a set of grades per question, and at least one question per fold."
        )
    candidates = _candidates(config, trials, rng)
    scores = []
    for candidate in candidates:
        ranked = rank_by_energy(fit_index(rows, candidate), asked, DEPTH)
        scores.append(ndcg(ranked, wanted))
        progress(1)
    table = np.stack(scores)  # (trials, questions)
    held_out = _cross_validated(table, rng.permutation(len(asked)) % folds)
    means = table.mean(1)
    chosen = int(means.argmax()) if held_out > means[0] else 0
    return Tuned(
        config=candidates[chosen],
        labelled=queries is not None,
        default=float(means[0]),
        best=float(means[chosen]),
        held_out=held_out,
        trials=[
            {"changes": _changes(config, candidate), "ndcg@10": float(value)}
            for candidate, value in zip(candidates, means, strict=True)
        ],
    )


def ndcg(ranked: npt.NDArray[np.int64], grades: Grades) -> Floats:
    """Score each ranking by nDCG over its own depth, linear gain: (q,)."""
    depth = ranked.shape[1]
    discount = 1 / np.log2(np.arange(2, depth + 2))
    out = np.zeros(len(ranked))
    for row, (found, wanted) in enumerate(zip(ranked.tolist(), grades, strict=True)):
        gain = np.array([wanted.get(number, 0.0) for number in found])
        ideal = np.sort(np.fromiter(wanted.values(), float))[::-1][:depth]
        best = float(ideal @ discount[: len(ideal)])
        out[row] = float(gain @ discount) / best if best > 0 else 0.0
    return out


def own_questions(
    rows: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], list[dict[int, float]]]:
    """Questions made from the collection itself; see the module's description."""
    real = np.flatnonzero(np.abs(rows).sum(1) > 0)
    if len(real) < 2:
        raise InvalidInputError(
            f"tune got {len(real)} rows that have a direction; without labels it needs at least 2."
        )
    chosen = rng.choice(real, size=min(MAX_QUESTIONS, len(real)), replace=False)
    noise = normalise(rng.normal(size=(len(chosen), rows.shape[1])))
    low, high = 0.0, 4.0
    for _ in range(8):  # bisection for the noise at which cosine finds the row so often
        level = (low + high) / 2
        asked = normalise(rows[chosen] + level * noise)
        first = rank_by_cosine(rows, asked, 1)[:, 0]
        low, high = (level, high) if (first == chosen).mean() > FOUND_FIRST else (low, level)
    near = rank_by_cosine(rows, rows[chosen], DEPTH + 1)
    grades = []
    for row, others in zip(chosen.tolist(), near.tolist(), strict=True):
        mates = [other for other in others if other != row][:DEPTH]
        back = rank_by_cosine(rows, rows[mates], DEPTH + 1)
        mutual = [other for other, seen in zip(mates, back, strict=True) if row in seen]
        grades.append({row: 2.0, **dict.fromkeys(mutual, 1.0)})
    return asked, grades


def _candidates(base: EnergyConfig, trials: int, rng: np.random.Generator) -> list[EnergyConfig]:
    """The base, each setting alone, then random combinations; distinct, in a seeded order."""
    limits = {"heat": 0.9, "local_heat": 0.9, "query_heat": 0.9, "centring": 1.0}

    def changed(factors: Mapping[str, float]) -> EnergyConfig:
        values: dict[str, Any] = {
            name: min(factor * getattr(base, name), limits.get(name, np.inf))
            for name, factor in factors.items()
        }
        return replace(base, **values)

    alone = [changed({name: f}) for name, factors in FACTORS.items() for f in factors]
    rng.shuffle(alone)
    found = list(dict.fromkeys([base, *alone]))[: max(1, (trials + 1) // 2)]
    for _ in range(50 * trials):
        if len(found) >= trials:
            break
        drawn = changed({name: float(rng.choice(factors)) for name, factors in FACTORS.items()})
        if drawn not in found:
            found.append(drawn)
    return found


def _cross_validated(table: Floats, fold: npt.NDArray[np.int64]) -> float:
    """Mean over the questions of what was chosen without their fold."""
    values = np.zeros(table.shape[1])
    for held in np.unique(fold):
        out = fold == held
        values[out] = table[int(table[:, ~out].mean(1).argmax())][out]
    return float(values.mean())


def _changes(base: EnergyConfig, other: EnergyConfig) -> dict[str, Any]:
    before, after = base.to_dict(), other.to_dict()
    return {name: value for name, value in after.items() if value != before[name]}
