"""What a collection is about: groups of similar rows, their words, their most typical documents."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 8  # topics of a report
WORDS = 5  # that name a topic
TYPICAL = 3  # documents that stand for it
_WORD = re.compile(r"[^\W\d_]{3,}")
_READ = 4000  # characters of a text
_ROUNDS = 25


@dataclass(frozen=True)
class Topic:
    """One group of rows.

    Attributes
    ----------
    words : list of str
        More frequent here than elsewhere.
    rows : list of int
        The most typical one first.
    """

    words: list[str]
    rows: list[int]


def words_of(text: str) -> set[str]:
    """Different words of a text, lower case, without digits."""
    return set(_WORD.findall(text[:_READ].lower()))


def topics(unit: NDArray[np.float32], words: list[set[str]], seed: int) -> list[Topic]:
    """Group unit rows (n, d); the largest topic first.

    Parameters
    ----------
    unit : ndarray of shape (n, d), float32
    words : list of n sets of str
        Of the rows.
    seed : int
        Of the first centres.
    """
    n = len(unit)
    k = min(MOST, int(np.sqrt(n / 3)))
    if k < 2:
        return []
    centred = unit - unit.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-12
    label, closeness = _grouped(centred, k, np.random.default_rng(seed))
    known = Counter(word for each in words for word in each)
    found = []
    for group in range(k):
        rows = np.flatnonzero(label == group)
        if len(rows):
            ordered = rows[np.argsort(-closeness[rows], kind="stable")].tolist()
            found.append(Topic(_naming([words[row] for row in ordered], known, n), ordered))
    return sorted(found, key=lambda topic: -len(topic.rows))


def _grouped(
    rows: NDArray[np.float32], k: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Spherical k-means (Dhillon and Modha, 2001), started by k-means++."""
    centres = rows[[int(rng.integers(len(rows)))]]
    while len(centres) < k:
        far = np.maximum(1 - (rows @ centres.T).max(axis=1), 0) + 1e-9
        chosen = rng.choice(len(rows), p=far / far.sum())
        centres = np.concatenate([centres, rows[[chosen]]])
    label = np.zeros(len(rows), dtype=np.int64)
    for _ in range(_ROUNDS):
        nearness = rows @ centres.T
        before, label = label, nearness.argmax(axis=1)
        for group in range(k):
            if (label == group).any():
                total = rows[label == group].sum(axis=0)
                centres[group] = total / (np.linalg.norm(total) + 1e-12)
        if (before == label).all():
            break
    return label, (rows @ centres.T).max(axis=1)


def _naming(inside: list[set[str]], known: Counter[str], n: int) -> list[str]:
    """Words of most information about the group: p·log(p/q) of rows that have the word."""
    here = Counter(word for each in inside for word in each)

    def information(word: str) -> float:
        p, q = here[word] / len(inside), known[word] / n
        return float(p * np.log(p / q))

    common = [word for word, count in here.items() if count > 1 or len(inside) == 1]
    return sorted(common, key=lambda word: (-information(word), word))[:WORDS]
