"""Semantic textual similarity: sentence pairs with human scores (STS Benchmark layout)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.lines import tab_separated
from energy_plugin.evaluation.vectors import normalise

_COLUMNS = ("score", "sentence1", "sentence2")


@dataclass(frozen=True)
class SentencePairs:
    """Sentence pairs and how alike people found them.

    Attributes
    ----------
    first, second : tuple of str
        The sentences, same length.
    scores : ndarray of shape (n,), float64
        Human scores, 0 (unrelated) to 5 (same meaning).
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: npt.NDArray[np.float64]


def load_pairs(path: str | Path) -> SentencePairs:
    """Read a tab-separated file with the columns score, sentence1 and sentence2.

    A file without a header is read in the benchmark's own order: genre, file, year,
    score, sentence1, sentence2, with or without an id before the score.

    Raises
    ------
    InvalidInputError
        The file is missing, malformed or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"{path} does not exist. Give a file of scored sentence pairs.")
    rows = [row for row in tab_separated(path) if row]
    if not rows:
        raise InvalidInputError(f"{path} is empty. Expected {', '.join(_COLUMNS)} in each row.")
    if set(_COLUMNS) <= set(rows[0]):
        header, rows = rows[0], rows[1:]
        columns = tuple(header.index(name) for name in _COLUMNS)
    else:
        score_at = 4 if len(rows[0]) > 4 and _is_number(rows[0][4]) else 3
        columns = (score_at, score_at + 1, score_at + 2)
    first, second, scores = [], [], []
    for number, row in enumerate(rows, 1):
        try:
            score, one, two = (row[column] for column in columns)
            scores.append(float(score))
            if not np.isfinite(scores[-1]):
                raise ValueError(f"a score of {score}")
        except (IndexError, ValueError) as error:
            raise InvalidInputError(
                f"{path}, pair {number}: got {row!r}, expected {', '.join(_COLUMNS)} "
                "separated by tabs."
            ) from error
        first.append(one.strip())
        second.append(two.strip())
    if len(scores) < 2:
        raise InvalidInputError(f"{path} holds {len(scores)} pairs, a correlation needs two.")
    return SentencePairs(tuple(first), tuple(second), np.array(scores))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def pair_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Cosine of row i of `first` with row i of `second`, shape (n,), float32."""
    products = normalise(first) * normalise(second)
    return np.asarray(products.sum(axis=1), dtype=np.float32)


def spearman(similarity: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Spearman's rank correlation with human scores, ties by mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr(similarity, scores).statistic)
