"""What vision tokens keep of the words on the page, against compression.

Passages of a corpus are read by the compact encoder, and by its text teacher for comparison.
Consecutive vision tokens are averaged, so that about as many text tokens stand behind one
vector as asked for; the teacher's last hidden states are averaged over the same words, to the
same number of vectors of the same width. A small reader (`probe_reader`) learns for each of
the two which words stand behind a vector, and is scored on passages that it has not seen.

Three kinds of text: as written; the words of each passage in random order; words drawn at
random from the vocabulary, where a language model has nothing to guess from.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.probe_reader import Spans, frequencies, precision, train_reader
from energy_plugin.optical.base import BaseEncoder
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.typesetting.spelling import spelled
from energy_plugin.optical.typesetting.tiles import TILE_LINES

KINDS = ("normal", "shuffled", "random")
SIDES = ("encoder", "teacher", "frequency")
_KEY = re.compile(r"\w+(?:['’]\w+)*")
_CHUNK = 256  # passages that are read at once


class TokenTeacher(Protocol):
    """A text model that gives its token states: `optical.training.teacher.Teacher`."""

    def read(self, texts: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Readings of texts split into words, with `hidden` and `word_of_piece`."""


@dataclass(frozen=True)
class Probed:
    """Precision at one compression.

    Attributes
    ----------
    target : float
        Text tokens a vector that were asked for.
    ratio : mapping of str to float
        Text tokens a vector of the held-out passages, by kind of text.
    words : mapping of str to float
        Distinct vocabulary words a vector there.
    spans : int
        Vectors that each reader was trained on.
    precision : mapping of str to mapping of str to float
        By kind of text, then by side: ``"encoder"``, ``"teacher"`` and ``"frequency"``, which
        names the most frequent words whatever the vector.
    """

    target: float
    ratio: Mapping[str, float]
    words: Mapping[str, float]
    spans: int
    precision: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives."""
        return dict(vars(self))


@dataclass(frozen=True)
class ProbeReport:
    """What was measured.

    Attributes
    ----------
    native : float
        Text tokens a vision token of the encoder, on held-out normal passages.
    covered : float
        Share of their words that are in the vocabulary.
    passages : tuple of int
        Of each kind, for training and held out.
    rows : tuple of Probed
    """

    native: float
    covered: float
    passages: tuple[int, int]
    rows: tuple[Probed, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON primitives."""
        return {**vars(self), "rows": [row.to_dict() for row in self.rows]}


def keys_of(word: str) -> list[str]:
    """Vocabulary words in a piece of text between spaces."""
    return _KEY.findall(word.lower())


def passages_of(lines: Sequence[str], length: int) -> list[list[str]]:
    """Lines, joined and cut into passages of `length` words each."""
    words: list[str] = []
    for line in lines:
        words += spelled(unicodedata.normalize("NFC", line)).split()
    return [words[start : start + length] for start in range(0, len(words) - length + 1, length)]


def probe(
    lines: Sequence[str],
    encoder: BaseEncoder,
    teacher: TokenTeacher,
    *,
    ratios: Sequence[float] = (5, 10, 20),
    train: int = 1000,
    held_out: int = 250,
    length: int = 64,
    vocabulary: int = 2000,
    epochs: int = 10,
    seed: int = 0,
    show_progress_bar: bool = False,
) -> ProbeReport:
    """Train readers at each compression and score them on held-out passages.

    Parameters
    ----------
    lines : sequence of str
        The corpus.
    encoder : BaseEncoder
        A compact one; it stays as it is.
    teacher : TokenTeacher
    ratios : sequence of float, default=(5, 10, 20)
        Text tokens, counted as the teacher's word pieces, a vector.
    train, held_out : int, default=1000 and 250
        Passages; each is used as written, shuffled and as random words.
    length : int, default=64
        Words a passage.
    vocabulary : int, default=2000
        Most frequent words of the training passages, which the readers are asked for.
    epochs : int, default=10
    seed : int, default=0
        Of the choice of passages, the order of words, the random words and the training.
    show_progress_bar : bool, default=False

    Raises
    ------
    InvalidInputError
        The encoder is not a compact one, or the corpus is too short.
    """
    if not isinstance(encoder.model, CompactEncoder):
        raise InvalidInputError(
            f"{encoder.name!r} is not a compact encoder; the probe reads compact encoders"
        )
    if not ratios or min(ratios) <= 0:
        raise InvalidInputError(f"ratios are {list(ratios)}, expected positive numbers")
    rng = np.random.default_rng(seed)
    passages = passages_of(lines, length)
    if len(passages) < train + held_out:
        raise InvalidInputError(
            f"the corpus has {len(passages):,} passages of {length} words, expected at least "
            f"{train:,} to train on and {held_out:,} held out; name a longer one or ask for fewer"
        )
    chosen = [passages[row] for row in rng.permutation(len(passages))[: train + held_out]]
    counts = Counter(key for words in chosen[:train] for word in words for key in keys_of(word))
    numbers = {key: row for row, (key, _) in enumerate(counts.most_common(vocabulary))}
    sets = {
        (part, kind): list(_texts(some, kind, list(numbers), rng))
        for part, some in (("train", chosen[:train]), ("held out", chosen[train:]))
        for kind in KINDS
    }
    found = {}
    with tqdm(
        total=len(KINDS) * len(chosen), desc="Reading", unit="text", disable=not show_progress_bar
    ) as bar:
        for name, texts in sets.items():
            found[name] = _Gathered(ratios)
            for start in range(0, len(texts), _CHUNK):
                some = texts[start : start + _CHUNK]
                found[name].add(some, encoder, teacher, numbers)
                bar.update(len(some))
    rows = [
        _probed(target, found, len(numbers), epochs=epochs, seed=seed, bar=show_progress_bar)
        for target in ratios
    ]
    keys = [key for words in chosen[train:] for word in words for key in keys_of(word)]
    return ProbeReport(
        native=found["held out", "normal"].pieces / found["held out", "normal"].tiles,
        covered=sum(key in numbers for key in keys) / max(len(keys), 1),
        passages=(train, held_out),
        rows=tuple(rows),
    )


def _probed(
    target: float,
    found: Mapping[tuple[str, str], _Gathered],
    vocabulary: int,
    *,
    epochs: int,
    seed: int,
    bar: bool,
) -> Probed:
    """Readers of both sides at one compression."""
    scores: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    ratio, words, trained = {}, {}, 0
    for side in SIDES[:2]:
        seen = Spans.joined([found["train", kind].spans(target, side) for kind in KINDS])
        trained, usual = len(seen), frequencies(seen, vocabulary)
        reader = train_reader(seen, vocabulary, epochs=epochs, seed=seed, show_progress_bar=bar)
        for kind in KINDS:
            asked = found["held out", kind].spans(target, side)
            scores[kind][side] = precision(reader, asked, vocabulary)
            scores[kind]["frequency"] = precision(usual, asked, vocabulary)
            ratio[kind] = found["held out", kind].pieces / len(asked)
            words[kind] = len(asked.words) / len(asked)
    return Probed(float(target), ratio, words, trained, scores)


def _texts(
    passages: Sequence[list[str]], kind: str, known: list[str], rng: np.random.Generator
) -> Iterator[list[str]]:
    for words in passages:
        if kind == "normal":
            yield words
        elif kind == "shuffled":
            yield [words[row] for row in rng.permutation(len(words))]
        else:
            yield [known[row] for row in rng.integers(len(known), size=len(words))]


class _Gathered:
    """Averaged vectors of both sides, and their words, of one set of passages."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self.pieces = self.tiles = 0
        self._vectors: dict[tuple[float, str], list[NDArray[np.float16]]] = {
            (ratio, side): [] for ratio in ratios for side in SIDES[:2]
        }
        self._words: dict[float, list[list[int]]] = {ratio: [] for ratio in ratios}

    def add(
        self,
        texts: Sequence[list[str]],
        encoder: BaseEncoder,
        teacher: TokenTeacher,
        numbers: Mapping[str, int],
    ) -> None:
        """Read some passages."""
        joined = [" ".join(words) for words in texts]
        tokens = encoder.encode_tokens(joined)
        for text, words, tiles, reading in zip(
            joined, texts, tokens, teacher.read(texts), strict=True
        ):
            lines = np.array([len(broken) for broken in encoder.typesetter.words(text)])
            home = (np.cumsum(lines) - (lines + 1) // 2) // TILE_LINES  # of the middle line
            keys = [[numbers[key] for key in keys_of(word) if key in numbers] for word in words]
            pieces = np.bincount(home[reading.word_of_piece], minlength=len(tiles))
            self.pieces += len(reading.hidden)
            self.tiles += len(tiles)
            middle = np.cumsum(pieces) - pieces / 2
            for ratio, held in self._words.items():
                span_of_tile = np.unique(middle // ratio, return_inverse=True)[1]
                span_of_word = span_of_tile[home]
                ours = _means(tiles, span_of_tile)
                theirs = _means(reading.hidden, span_of_word[reading.word_of_piece], len(ours))
                self._vectors[ratio, "encoder"].append(ours)
                self._vectors[ratio, "teacher"].append(theirs)
                sets: list[set[int]] = [set() for _ in range(len(ours))]
                for span, some in zip(span_of_word, keys, strict=True):
                    sets[span].update(some)
                held += [sorted(some) for some in sets]

    def spans(self, ratio: float, side: str) -> Spans:
        """All spans of one compression as one side gives them."""
        words = self._words[ratio]
        return Spans(
            np.concatenate(self._vectors[ratio, side]),
            np.array([word for some in words for word in some], np.int64),
            np.concatenate([[0], np.cumsum([len(some) for some in words])]).astype(np.int64),
        )


def _means(
    rows: NDArray[Any], group: NDArray[np.int64], count: int | None = None
) -> NDArray[np.float16]:
    """Mean of the rows of each group; zeros where a group has none."""
    count = int(group.max()) + 1 if count is None else count
    sums = np.zeros((count, rows.shape[1]), np.float32)
    np.add.at(sums, group, rows.astype(np.float32))
    sizes = np.bincount(group, minlength=count)
    return (sums / np.maximum(sizes, 1)[:, None]).astype(np.float16)
