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
from energy_plugin.optical.typesetting.tiles import CONTINUATION, Typesetter

PIECES = 4  # of a line; those with fewest letters on it are left out
THREE_JOINED = 0.2  # share of words with missing spaces that are three words, not two
_ENDS = (("", "."), ("", ","), ("", ";"), ("", ":"), ("", "?"), ("(", ")"), ("(", ""), ('"', '"'))


@dataclass(frozen=True)
class WordMix:
    """What becomes of drawn words; the rest of them stays as it is.

    Attributes
    ----------
    noise : float
        Share of disturbed words.
    noises : tuple of str
        What disturbs them; a kind that is named twice comes twice as often.
    varied : float
        Share of words in other capitals, with punctuation or in compounds.
    invented : float
        Share of words made of pieces at random: names and terms that no text holds.
    """

    noise: float = 0.0
    noises: tuple[str, ...] = NOISES
    varied: float = 0.0
    invented: float = 0.0


@dataclass(frozen=True)
class WordPool:
    """Lines of drawn words beside their neighbours in the word, with the pieces they show.

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
    """

    lines: list[str]
    windows: NDArray[np.int64]
    slots: NDArray[np.int64]
    shares: NDArray[np.float32]


Piece = tuple[int, int, int]  # number, first letter, end


class _Pieces:
    """Pieces of words with their letters, punctuation left out where there is more."""

    def __init__(self, teacher: Teacher) -> None:
        self.tokenizer = teacher.tokenizer
        self.wordy = np.zeros(len(teacher.piece_embeddings()), bool)
        for piece, index in self.tokenizer.get_vocab().items():
            self.wordy[index] = any(c.isalnum() for c in piece)

    def of(self, words: Sequence[str]) -> list[tuple[Piece, ...]]:
        """Pieces of each word."""
        out = []
        for start in range(0, len(words), 65536):
            chosen = list(words[start : start + 65536])
            for encoding in self.tokenizer.encode_batch(chosen, add_special_tokens=False):
                found = tuple(
                    (i, a, b) for i, (a, b) in zip(encoding.ids, encoding.offsets, strict=True)
                )
                out.append(tuple(piece for piece in found if self.wordy[piece[0]]) or found)
        return out


def line_pieces(
    lines: Sequence[str], pieces: Sequence[Piece], letters: int
) -> list[dict[int, float]]:
    """Letters of each piece on each line of a word.

    Parameters
    ----------
    lines : sequence of str
        Of the word as it is typeset, marks included.
    pieces : sequence of Piece
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


class Lexicon:
    """Words of the training text, and the teacher's pieces that the glossary is to hold.

    Words are drawn by the square root of their occurrences.

    Parameters
    ----------
    words : Counter of str
        Words (no white space) and their occurrences.
    teacher : Teacher
    typesetter : Typesetter
    slots : int
        Of the glossary: the pieces that are drawn most often get one each.

    Attributes
    ----------
    pieces : ndarray of shape (n_slots,), int64
        The teacher's piece in each slot, the most frequent first.
    """

    def __init__(
        self, words: Counter[str], teacher: Teacher, typesetter: Typesetter, *, slots: int
    ) -> None:
        counts: Counter[str] = Counter()
        for word, count in words.items():
            counts[unicodedata.normalize("NFC", word)] += count
        self.words = list(counts)
        chances = np.sqrt(np.fromiter(counts.values(), np.float64, len(counts)))
        self._chances = chances / chances.sum()
        self._cut = _Pieces(teacher)
        self._found = self._cut.of(self.words)
        self._typesetter = typesetter
        usage: Counter[int] = Counter()
        for found, chance in zip(self._found, self._chances.tolist(), strict=True):
            for number, _, _ in found:
                usage[number] += chance
        most = usage.most_common(slots)
        self.pieces = np.array([number for number, _ in most])
        self._usage = np.array([used for _, used in most])

    def draw(self, count: int, mix: WordMix, *, seed: Sequence[int]) -> WordPool:
        """Draw words with replacement, and make of them what the mix says.

        Parameters
        ----------
        count : int
        mix : WordMix
        seed : sequence of int
        """
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(self.words), size=(count, 3), p=self._chances)
        fate = rng.random(count)
        noisy, varied, invented = np.cumsum([mix.noise, mix.varied, mix.invented])
        pool = _Rows(self._typesetter, self.pieces)
        fresh = []
        for row, drawn in zip(rows.tolist(), fate.tolist(), strict=True):
            if drawn < noisy:
                text, meant = self._disturbed(row, mix.noises, rng)
                pool.add(text, *self._said(meant))
            elif drawn < varied:
                fresh.append(_varied([self.words[word] for word in row], rng))
            elif drawn >= invented:
                pool.add(self.words[row[0]], *self._said(row[:1]))
        fresh += self._invented(int(((fate >= varied) & (fate < invented)).sum()), rng)
        for text, found in zip(fresh, self._cut.of(fresh), strict=True):
            pool.add(text, found, len(text))
        return pool.done()

    def _said(self, meant: Sequence[int]) -> tuple[list[Piece], int]:
        """Pieces of some words behind each other, and their letters."""
        found: list[Piece] = []
        letters = 0
        for row in meant:
            found += [(number, letters + a, letters + b) for number, a, b in self._found[row]]
            letters += len(self.words[row])
        return found, letters

    def _disturbed(
        self, row: list[int], noises: Sequence[str], rng: np.random.Generator
    ) -> tuple[str, list[int]]:
        """A disturbed word, and the numbers of the words it stands for."""
        kind = noises[int(rng.integers(len(noises)))]
        joined = 3 if rng.random() < THREE_JOINED else 2
        meant = row[:joined] if kind == "spaces" else row[:1]
        made = noisy_words([self.words[word] for word in meant], kind, 1.0, rng)
        return made[0].text, meant

    def _invented(self, count: int, rng: np.random.Generator) -> list[str]:
        """Words of two to four pieces of letters."""
        names = [self._cut.tokenizer.id_to_token(int(number)) for number in self.pieces]
        plain = np.array([name.removeprefix("##").isalpha() for name in names])
        later = np.array([name.startswith("##") for name in names])
        drawn = []
        for among, many in ((plain & ~later, 1), (plain & later, 3)):
            places = np.flatnonzero(among)
            if not len(places):
                return []
            chances = np.sqrt(self._usage[places])
            drawn.append(rng.choice(places, size=(count, many), p=chances / chances.sum()))
        return [
            "".join(names[place].removeprefix("##") for place in [*first, *others[:many]])
            for first, others, many in zip(
                *(part.tolist() for part in drawn), rng.integers(1, 4, size=count), strict=True
            )
        ]


def _varied(words: Sequence[str], rng: np.random.Generator) -> str:
    """A word in other capitals, with punctuation, or in a compound with the next."""
    kind = int(rng.integers(6))
    if kind < 3:
        return (words[0].lower(), words[0].upper(), words[0].capitalize())[kind]
    if kind == 5:
        return "-".join(word.strip("-") or word for word in words[:2])
    before, after = _ENDS[rng.integers(len(_ENDS))]
    return before + words[0].strip('.,;:?()"') + after


class _Rows:
    """Windows and targets, gathered word by word."""

    def __init__(self, typesetter: Typesetter, pieces: NDArray[np.int64]) -> None:
        self.typesetter = typesetter
        self.slot_of = {number: slot for slot, number in enumerate(pieces.tolist())}
        self.lines: dict[str, int] = {"": 0}
        self.windows: list[tuple[int, int, int]] = []
        self.targets: list[tuple[tuple[int, float], ...]] = []

    def add(self, word: str, pieces: Sequence[Piece], letters: int) -> None:
        """Add the lines of a word; those that show no piece with a slot are left out."""
        lines = [line for part in self.typesetter.words(word) for line in part]
        places = [self.lines.setdefault(line, len(self.lines)) for line in lines]
        marked = [k > 0 and line.startswith(CONTINUATION) for k, line in enumerate(lines)]
        for k, shown in enumerate(line_pieces(lines, pieces, letters)):
            held = [(self.slot_of[n], share) for n, share in shown.items() if n in self.slot_of]
            if not held:
                continue
            before = places[k - 1] if marked[k] else 0
            after = places[k + 1] if k + 1 < len(lines) and marked[k + 1] else 0
            self.windows.append((before, places[k], after))
            self.targets.append(tuple(sorted(held, key=lambda pair: -pair[1])[:PIECES]))

    def done(self) -> WordPool:
        """Everything that was added."""
        slots = np.zeros((len(self.targets), PIECES), np.int64)
        shares = np.zeros((len(self.targets), PIECES), np.float32)
        for row, held in enumerate(self.targets):
            for column, (slot, share) in enumerate(held):
                slots[row, column], shares[row, column] = slot, share
        shares /= shares.sum(1, keepdims=True)
        windows = np.array(self.windows, dtype=np.int64).reshape(-1, 3)
        return WordPool(list(self.lines), windows, slots, shares)
