"""What stands on the lines that the recogniser learns from."""

from __future__ import annotations

import numpy as np

from energy_plugin.optical.printed.alphabet import CHARACTERS, readable
from energy_plugin.optical.training.corpus import Corpus

_ACCENTED = {
    "a": "àáâãäåāăą", "c": "çćč", "d": "ďđ", "e": "èéêëēėęě", "g": "ğ", "i": "ìíîïīı", "l": "ł",
    "n": "ñńň", "o": "òóôõöøōő", "r": "ř", "s": "śşš", "t": "ť", "u": "ùúûüūůű", "y": "ýÿ",
    "z": "źżž", "A": "ÀÁÂÃÄÅĄ", "C": "ÇĆČ", "E": "ÈÉÊËĘ", "I": "ÌÍÎÏİ", "N": "Ñ",
    "O": "ÒÓÔÕÖØŐ", "S": "ŚŞŠ", "U": "ÙÚÛÜŮ", "Z": "ŹŻŽ",
}  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MARKS = CHARACTERS[1:]


class LineTexts:
    """Draws texts of lines: running text, rare words, numbers, strings of no language.

    Parameters
    ----------
    corpus : Corpus
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.vocabulary = sorted(word for word in corpus.words() if len(word) < 24)

    def draw(self, length: int, rng: np.random.Generator) -> str:
        """A text of about `length` characters."""
        kind = rng.random()
        if kind < 0.62:
            text = self._running(length, rng)
        elif kind < 0.82:
            text = self._many(length, rng, lambda: self._word(rng))
        elif kind < 0.94:
            text = self._many(length, rng, lambda: _invented(rng))
        else:
            text = self._many(length, rng, lambda: _number(rng))
        return readable(_varied(text, rng)) or "empty"

    def _word(self, rng: np.random.Generator) -> str:
        return self.vocabulary[rng.integers(len(self.vocabulary))]

    def _running(self, length: int, rng: np.random.Generator) -> str:
        lines = self.corpus.sources[rng.integers(len(self.corpus.sources))]
        line = lines[rng.integers(len(lines))]
        start = int(rng.integers(max(1, len(line) - length)))
        start = line.rfind(" ", 0, start + 1) + 1
        end = line.find(" ", start + length)
        return line[start : end if 0 <= end < start + length + 24 else start + length]

    def _many(self, length: int, rng: np.random.Generator, draw: object) -> str:
        words: list[str] = []
        while sum(map(len, words)) + len(words) < length:
            words.append(draw() if callable(draw) else "")
            if rng.random() < 0.12:
                words[-1] += ",.;:!?)"[rng.integers(7)]
        return " ".join(words)


def _invented(rng: np.random.Generator) -> str:
    size = int(rng.integers(1, 11))
    kind = rng.random()
    if kind < 0.5:
        pool = _LETTERS
    elif kind < 0.7:
        pool = _LETTERS.upper() + "0123456789-"
    elif kind < 0.85:
        pool = _LETTERS + _LETTERS.upper() + "0123456789_./-"
    else:
        pool, size = _MARKS, min(size, 5)
    word = "".join(pool[place] for place in rng.integers(len(pool), size=size))
    return word.capitalize() if rng.random() < 0.15 else word


def _number(rng: np.random.Generator) -> str:
    kind = int(rng.integers(9))
    value = 10 ** rng.uniform(-1, 5)
    return (
        f"{value:.0f}",
        f"{value:.1f}",
        f"{value:,.2f}",
        f"{rng.integers(1, 32)}.{rng.integers(1, 13)}.{rng.integers(1900, 2030)}",
        f"({rng.integers(1, 200)})",
        f"{value:.0f}%",
        f"[{rng.integers(1, 99)}]",
        f"{rng.integers(1, 300)}–{rng.integers(300, 999)}",
        f"{'$€£±=<>≤'[rng.integers(8)]}{value:.2f}",
    )[kind]


def _varied(text: str, rng: np.random.Generator) -> str:
    case = rng.random()
    if case < 0.07:
        text = text.upper()
    elif case < 0.11:
        text = text.title()
    elif case < 0.16:
        text = text.lower()
    if rng.random() < 0.5:
        text = text.replace(" '", " ‘").replace("'", "’").replace(' "', " “").replace('"', "”")
    if rng.random() < 0.04:
        for mark in ".,;:()":
            text = text.replace(mark, f" {mark} ")
    if rng.random() < 0.08:
        share = rng.uniform(0.03, 0.3)
        text = "".join(
            _ACCENTED[each][rng.integers(len(_ACCENTED[each]))]
            if each in _ACCENTED and rng.random() < share
            else each
            for each in text
        )
    if rng.random() < 0.05 and len(text) > 8:
        text = text[: rng.integers(5, len(text))].rstrip("- ") + "-"
    return text
