"""Known answers among the stored documents: which ranking finds them, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from energy_plugin.library.comparison import Comparison, compare
from energy_plugin.library.questions import Question

if TYPE_CHECKING:
    from energy_plugin.library.demonstration.store import DemoStore


def judge(
    store: DemoStore, questions: list[Question], vectors: npt.NDArray[np.float32], *, seed: int = 0
) -> Comparison:
    """Compare five rankings on questions with known answers.

    Parameters
    ----------
    store : DemoStore
        Finished.
    questions : list of q Question
        Answered by names of stored documents.
    vectors : ndarray of shape (q, d), float32
        Of the questions.
    seed : int
        Of the test of significance.
    """
    names, texts, rows = store.content()
    at = {name: row for row, name in enumerate(names)}
    answers = [frozenset(at[name] for name in each.answers) for each in questions]
    return compare(texts, rows, [each.text for each in questions], vectors, answers, seed=seed)


def telling(result: Comparison) -> list[int]:
    """Numbers of the questions to show: the first, hybrid's greatest gain and greatest loss."""
    gains = 1 / result.places["hybrid"] - 1 / result.places[result.rival]
    return list(dict.fromkeys([0, int(np.argmax(gains)), int(np.argmin(gains))]))
