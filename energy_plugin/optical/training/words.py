"""First stage: images of words to the pieces that the teacher cuts them into.

Every line of a typeset word is to read, from itself and its neighbours in the word, the
pieces whose letters stand on it. These targets are dense and cheap: a table, no forward
pass of the teacher. What was read then takes the teacher's input embeddings from the
glossary.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.training.noise import NOISES, noisy_words
from energy_plugin.optical.training.teacher import Teacher
from energy_plugin.optical.typeset import CONTINUATION, Typesetter

PIECES = 4  # of a line; those with fewest letters on it are left out


@dataclass(frozen=True)
class WordVocabulary:
    """Lines of words beside their neighbours in the word, with the pieces they show.

    Attributes
    ----------
    lines : list of str
        Distinct lines; the first is blank.
    windows : ndarray of shape (n, 3), int64
        The line before, the line, the line after; 0 where the word begins or ends.
    slots : ndarray of shape (n, PIECES), int64
        Slots of the glossary.
    shares : ndarray of shape (n, PIECES), float32
        Share of each slot in the letters of the line; rows sum to 1.
    chances : ndarray of shape (n,), float64
        How often each is drawn.
    pieces : ndarray of shape (n_slots,), int64
        The teacher's piece in each slot, the most frequent first.
    """

    lines: list[str]
    windows: NDArray[np.int64]
    slots: NDArray[np.int64]
    shares: NDArray[np.float32]
    chances: NDArray[np.float64]
    pieces: NDArray[np.int64]


class _Pieces:
    """Pieces of words with their letters, punctuation left out where there is more."""

    def __init__(self, teacher: Teacher) -> None:
        self.tokenizer = teacher.tokenizer
        self.wordy = np.zeros(len(teacher.piece_embeddings()), bool)
        for piece, index in self.tokenizer.get_vocab().items():
            self.wordy[index] = any(c.isalnum() for c in piece)

    def of(self, words: Sequence[str]) -> list[list[tuple[int, int, int]]]:
        """Number, first letter and end of each piece of each word."""
        out = []
        for start in range(0, len(words), 65536):
            chosen = list(words[start : start + 65536])
            for encoding in self.tokenizer.encode_batch(chosen, add_special_tokens=False):
                found = [
                    (i, a, b) for i, (a, b) in zip(encoding.ids, encoding.offsets, strict=True)
                ]
                out.append([piece for piece in found if self.wordy[piece[0]]] or found)
        return out


def line_pieces(
    lines: Sequence[str], pieces: Sequence[tuple[int, int, int]], letters: int
) -> list[dict[int, float]]:
    """Letters of each piece on each line of a word.

    Parameters
    ----------
    lines : sequence of str
        Of the word as it is typeset, marks included.
    pieces : sequence of (number, first letter, end)
        Of the word as it was meant.
    letters : int
        Of the word as it was meant. Where noise has made the typeset word longer or
        shorter, places are stretched.
    """
    sizes = [len(line) - (k > 0 and line.startswith(CONTINUATION)) for k, line in enumerate(lines)]
    ends = np.cumsum(sizes) * (letters / max(sum(sizes), 1))
    out = []
    for begin, end in zip([0.0, *ends[:-1]], ends, strict=True):
        shown: dict[int, float] = {}
        for number, first, last in pieces:
            overlap = min(end, last) - max(begin, first)
            if overlap > 0:
                shown[number] = shown.get(number, 0.0) + float(overlap)
        # A line of punctuation alone says what the word says.
        out.append(shown or {number: 1.0 for number, _, _ in pieces})
    return out


def _noisy(
    words: Sequence[str], chances: NDArray[np.float64], count: int, rng: np.random.Generator
) -> list[tuple[str, list[int]]]:
    """Disturbed words, each with the numbers of the words it stands for."""
    drawn = rng.choice(len(words), size=(count, 2), p=chances / chances.sum())
    kinds = rng.integers(len(NOISES), size=count)
    out = []
    for (first, second), kind in zip(drawn.tolist(), kinds.tolist(), strict=True):
        name = NOISES[kind]
        meant = [first, second] if name == "spaces" else [first]
        made = noisy_words([words[word] for word in meant], name, 1.0, rng)
        out.append((made[0].text, meant))
    return out


def build_vocabulary(
    words: Counter[str],
    typesetter: Typesetter,
    teacher: Teacher,
    limit: int,
    *,
    slots: int,
    noise: float,
    seed: int,
) -> WordVocabulary:
    """Lines of the most frequent words, clean and disturbed, with their pieces.

    Words are drawn by the square root of their occurrences.

    Parameters
    ----------
    words : Counter of str
        Words (no white space) and their occurrences.
    limit : int
        Distinct words to keep; as many disturbed ones are added.
    slots : int
        Of the glossary: the most frequent pieces of the teacher get one each.
    noise : float
        Share of draws that are disturbed words.
    seed : int
    """
    counts: Counter[str] = Counter()
    for word, count in words.most_common(limit):
        counts[unicodedata.normalize("NFC", word)] += count
    clean = list(counts)
    weights = np.sqrt(np.fromiter(counts.values(), np.float64, len(clean)))
    pieces = _Pieces(teacher).of(clean)

    usage: Counter[int] = Counter()
    for found, weight in zip(pieces, weights.tolist(), strict=True):
        for number, _, _ in found:
            usage[number] += weight
    kept = [number for number, _ in usage.most_common(slots)]
    slot_of = {number: slot for slot, number in enumerate(kept)}

    shown: list[tuple[str, list[int], float]] = [
        (word, [row], weight) for row, (word, weight) in enumerate(zip(clean, weights, strict=True))
    ]
    if noise:
        made = _noisy(clean, weights, len(clean), np.random.default_rng([seed, 2]))
        weight = float(weights.sum()) * noise / (1 - noise) / len(made)
        shown += [(text, meant, weight) for text, meant in made]

    index: dict[str, int] = {"": 0}
    windows: list[tuple[int, int, int]] = []
    targets: list[list[tuple[int, float]]] = []
    chances: list[float] = []
    for text, meant, weight in shown:
        found, letters = [], 0
        for row in meant:
            found += [(number, letters + a, letters + b) for number, a, b in pieces[row]]
            letters += len(clean[row])
        lines = [line for word in typesetter.words(text) for line in word]
        places = [index.setdefault(line, len(index)) for line in lines]
        marked = [k > 0 and line.startswith(CONTINUATION) for k, line in enumerate(lines)]
        for k, read in enumerate(line_pieces(lines, found, letters)):
            held = [(slot_of[number], share) for number, share in read.items() if number in slot_of]
            if not held:
                continue
            after = k + 1 < len(lines) and marked[k + 1]
            windows.append(
                (places[k - 1] if marked[k] else 0, places[k], places[k + 1] if after else 0)
            )
            targets.append(sorted(held, key=lambda pair: -pair[1])[:PIECES])
            chances.append(weight)

    slots_of = np.zeros((len(targets), PIECES), np.int64)
    shares = np.zeros((len(targets), PIECES), np.float32)
    for row, held in enumerate(targets):
        for column, (slot, share) in enumerate(held):
            slots_of[row, column], shares[row, column] = slot, share
    shares /= shares.sum(1, keepdims=True)
    return WordVocabulary(
        list(index), np.array(windows), slots_of, shares, np.array(chances), np.array(kept)
    )
