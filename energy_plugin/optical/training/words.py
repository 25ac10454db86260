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
THREE_JOINED = 0.2  # share of words with missing spaces that are three words, not two


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
    words: Sequence[str],
    chances: NDArray[np.float64],
    kinds: Sequence[str],
    rng: np.random.Generator,
) -> list[tuple[str, list[int]]]:
    """As many disturbed words, each with the numbers of the words it stands for."""
    drawn = rng.choice(len(words), size=(len(words), 3), p=chances / chances.sum())
    chosen = rng.integers(len(kinds), size=len(words))
    joined = np.where(rng.random(len(words)) < THREE_JOINED, 3, 2)
    out = []
    for row, kind, count in zip(drawn.tolist(), chosen.tolist(), joined.tolist(), strict=True):
        meant = row[:count] if kinds[kind] == "spaces" else row[:1]
        made = noisy_words([words[word] for word in meant], kinds[kind], 1.0, rng)
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
    kinds: Sequence[str] = NOISES,
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
    kinds : sequence of str, default=NOISES
        What disturbs them; a kind that is named twice comes twice as often.
    """
    counts: Counter[str] = Counter()
    for word, count in words.most_common(limit):
        counts[unicodedata.normalize("NFC", word)] += count
    clean = list(counts)
    chances = np.sqrt(np.fromiter(counts.values(), np.float64, len(clean)))
    pieces = _Pieces(teacher).of(clean)
    kept = _most_used(pieces, chances, slots)

    seen = [
        _Seen(word, [row], chance)
        for row, (word, chance) in enumerate(zip(clean, chances, strict=True))
    ]
    if noise:
        made = _noisy(clean, chances, kinds, np.random.default_rng([seed, 2]))
        chance = float(chances.sum()) * noise / (1 - noise) / len(made)
        seen += [_Seen(text, meant, chance) for text, meant in made]
    rows = _Rows(typesetter, {number: slot for slot, number in enumerate(kept)})
    for shown in seen:
        found, letters = [], 0
        for row in shown.meant:
            found += [(number, letters + a, letters + b) for number, a, b in pieces[row]]
            letters += len(clean[row])
        rows.add(shown, found, letters)
    return rows.vocabulary(np.array(kept))


def _most_used(
    pieces: Sequence[Sequence[tuple[int, int, int]]], chances: NDArray[np.float64], slots: int
) -> list[int]:
    """Numbers of the pieces that are drawn most often."""
    usage: Counter[int] = Counter()
    for found, chance in zip(pieces, chances.tolist(), strict=True):
        for number, _, _ in found:
            usage[number] += chance
    return [number for number, _ in usage.most_common(slots)]


@dataclass(frozen=True)
class _Seen:
    """A word as it is typeset, the numbers of the words that it was meant as, its chance."""

    text: str
    meant: list[int]
    chance: float


class _Rows:
    """Windows and targets, gathered word by word."""

    def __init__(self, typesetter: Typesetter, slot_of: dict[int, int]) -> None:
        self.typesetter, self.slot_of = typesetter, slot_of
        self.lines: dict[str, int] = {"": 0}
        self.windows: list[tuple[int, int, int]] = []
        self.targets: list[list[tuple[int, float]]] = []
        self.chances: list[float] = []

    def add(self, word: _Seen, pieces: Sequence[tuple[int, int, int]], letters: int) -> None:
        """Add the lines of a word; those that show no piece with a slot are left out."""
        lines = [line for part in self.typesetter.words(word.text) for line in part]
        places = [self.lines.setdefault(line, len(self.lines)) for line in lines]
        marked = [k > 0 and line.startswith(CONTINUATION) for k, line in enumerate(lines)]
        for k, shown in enumerate(line_pieces(lines, pieces, letters)):
            held = [(self.slot_of[n], share) for n, share in shown.items() if n in self.slot_of]
            if not held:
                continue
            before = places[k - 1] if marked[k] else 0
            after = places[k + 1] if k + 1 < len(lines) and marked[k + 1] else 0
            self.windows.append((before, places[k], after))
            self.targets.append(sorted(held, key=lambda pair: -pair[1])[:PIECES])
            self.chances.append(word.chance)

    def vocabulary(self, pieces: NDArray[np.int64]) -> WordVocabulary:
        """Everything that was added."""
        slots = np.zeros((len(self.targets), PIECES), np.int64)
        shares = np.zeros((len(self.targets), PIECES), np.float32)
        for row, held in enumerate(self.targets):
            for column, (slot, share) in enumerate(held):
                slots[row, column], shares[row, column] = slot, share
        shares /= shares.sum(1, keepdims=True)
        return WordVocabulary(
            list(self.lines), np.array(self.windows), slots, shares, np.array(self.chances), pieces
        )
