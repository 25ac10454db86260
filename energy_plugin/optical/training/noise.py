"""Text as it comes out of scanners, forums and hurried hands.

Every kind changes single words, so that a noisy text still lines up with the clean
one, word by word: `noisy_words` says which clean words a noisy word stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from energy_plugin.errors import InvalidInputError

# Confusions of optical character recognition, either way round.
_OCR = (
    *(("rn", "m"), ("m", "rn"), ("cl", "d"), ("d", "cl"), ("vv", "w"), ("w", "vv")),
    *(("l", "1"), ("I", "l"), ("i", "l"), ("l", "i"), ("O", "0"), ("o", "0"), ("0", "O")),
    *(("e", "c"), ("c", "e"), ("h", "b"), ("b", "h"), ("a", "o"), ("S", "5"), ("s", "5")),
    *(("g", "q"), ("u", "ii"), ("n", "u"), ("t", "f"), ("f", "t"), ("B", "8"), ("Z", "2")),
)
_LEET = {"a": "4", "b": "8", "e": "3", "g": "9", "i": "1", "l": "1", "o": "0", "s": "5", "t": "7"}
# Letters of other scripts that look like Latin ones (Unicode's confusables).
_HOMOGLYPHS = dict(
    zip(
        "aceijopsxyABCEHIJKMNOPSTXYZ",
        "асеіјорѕхуАВСЕНІЈКМΝОРЅТХΥΖ",
        strict=True,
    )
)
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True)
class NoisyWord:
    """A word of a noisy text.

    Attributes
    ----------
    text : str
    clean : int
        Clean words that it stands for: 1, or more where a space is missing.
    """

    text: str
    clean: int


def _ocr(word: str, rng: np.random.Generator) -> str:
    fitting = [pair for pair in _OCR if pair[0] in word]
    if not fitting:
        return word
    before, after = fitting[rng.integers(len(fitting))]
    return word.replace(before, after, 1)


def _leet(word: str, rng: np.random.Generator) -> str:
    return _mapped(word, {**_LEET, **{k.upper(): v for k, v in _LEET.items()}}, rng)


def _homoglyph(word: str, rng: np.random.Generator) -> str:
    return _mapped(word, _HOMOGLYPHS, rng)


def _mapped(word: str, table: dict[str, str], rng: np.random.Generator) -> str:
    """Half of the characters that the table knows, at least one."""
    places = [place for place, character in enumerate(word) if character in table]
    if not places:
        return word
    chosen = set(rng.choice(places, size=(len(places) + 1) // 2, replace=False).tolist())
    return "".join(table[c] if place in chosen else c for place, c in enumerate(word))


def _typo(word: str, rng: np.random.Generator) -> str:
    """Two letters swapped, one left out, doubled, or taken by a neighbouring key."""
    letters = [place for place, character in enumerate(word) if character.isalpha()]
    if len(letters) < 3:
        return word
    place = letters[int(rng.integers(1, len(letters)))]
    kind = int(rng.integers(4))
    if kind == 0:
        return word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    if kind == 2:
        return word[:place] + word[place] + word[place:]
    row = next((keys for keys in _KEYS if word[place].lower() in keys), None)
    if row is None:
        return word
    at = row.index(word[place].lower()) + int(rng.choice([-1, 1]))
    return word[:place] + row[at % len(row)] + word[place + 1 :]


_CHANGES = {"ocr": _ocr, "leet": _leet, "homoglyph": _homoglyph, "typo": _typo}
NOISES = (*_CHANGES, "spaces")


def noisy_words(
    words: Sequence[str], kind: str, share: float, rng: np.random.Generator
) -> list[NoisyWord]:
    """Disturb a share of the words of a text.

    Parameters
    ----------
    words : sequence of str
    kind : {"ocr", "leet", "homoglyph", "typo", "spaces"}
        Confusions of character recognition, digits for letters, look-alikes of other
        scripts, slips of the keyboard, missing spaces.
    share : float
        Of the words, in [0, 1].
    rng : numpy.random.Generator

    Raises
    ------
    InvalidInputError
        Another kind or share.
    """
    if kind not in NOISES:
        raise InvalidInputError(f"noise is {kind!r}, expected one of {NOISES}")
    if not 0 <= share <= 1:
        raise InvalidInputError(f"share is {share!r}, expected a number in [0, 1]")
    touched = rng.random(len(words)) < share
    if kind != "spaces":
        change = _CHANGES[kind]
        return [
            NoisyWord(change(word, rng) if hit else word, 1)
            for word, hit in zip(words, touched, strict=True)
        ]
    out: list[NoisyWord] = []
    for place, (word, hit) in enumerate(zip(words, touched, strict=True)):
        if hit and place:
            out[-1] = NoisyWord(out[-1].text + word, out[-1].clean + 1)
        else:
            out.append(NoisyWord(word, 1))
    return out


def noisy_text(text: str, kind: str, share: float, *, seed: int) -> str:
    """Disturb a share of the words of a text; see `noisy_words`.

    The same text, kind, share and seed give the same result.
    """
    rng = np.random.default_rng([seed, *text.encode()[:64]])
    return " ".join(word.text for word in noisy_words(text.split(), kind, share, rng))
