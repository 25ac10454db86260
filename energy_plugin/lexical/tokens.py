"""Texts → terms: words without stop words, stemmed, as 32-bit numbers.

A term's number is the CRC-32 of its stem, so that no vocabulary has to be stored or agreed on:
rows that two writers encode fit together. Two of 100,000 stems share a number about once.
Scripts that are written without spaces (Chinese, Japanese, Thai, …) give pairs of characters.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError

_WORD = re.compile(r"\w\w+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
_STOP_LISTS = {
    "english": "EN",
    "chinese": "CHINESE",
    "danish": "DANISH",
    "dutch": "DUTCH",
    "french": "FRENCH",
    "german": "GERMAN",
    "italian": "ITALIAN",
    "korean": "KOREAN",
    "norwegian": "NORWEGIAN",
    "portuguese": "PORTUGUESE",
    "russian": "RUSSIAN",
    "spanish": "SPANISH",
    "swedish": "SWEDISH",
    "turkish": "TURKISH",
}
PLAIN = "none"
MOST_KNOWN = 1 << 20  # words that are remembered, some 100 MB; forgotten all at once


class Tokenizer:
    """Terms of texts in one language.

    Parameters
    ----------
    language : str, default "english"
        Of the Snowball stemmer and the stop words; words of other languages stay as they are or
        nearly so. ``"none"`` neither stems nor drops any word.

    Raises
    ------
    InvalidInputError
        There is neither a stemmer nor a list of stop words for the language.
    OptionalDependencyError
        PyStemmer or bm25s is not installed (extra ``lexical``).
    """

    def __init__(self, language: str = "english") -> None:
        self.language = language
        self._known: dict[str, int] = {}
        if language == PLAIN:
            self._stop: frozenset[str] = frozenset()
            self._stem: Any = None
            return
        snowball = optional("Stemmer", "lexical")
        known = sorted({*snowball.algorithms(), *_STOP_LISTS, PLAIN})
        if language not in known:
            raise InvalidInputError(f"language must be one of {known}, got {language!r}.")
        self._stem = snowball.Stemmer(language) if language in snowball.algorithms() else None
        name = _STOP_LISTS.get(language)
        lists = optional("bm25s.stopwords", "lexical")
        self._stop = frozenset() if name is None else frozenset(getattr(lists, f"STOPWORDS_{name}"))

    @cached_property
    def identity(self) -> str:
        """What has to be equal for terms to mean the same."""
        return f"{self.language}/1"

    def terms(self, text: str | None) -> list[int]:
        """Numbers of a text's terms, in order, repeated where they are; none of no text."""
        if not text:
            return []
        known = self._known
        if len(known) > MOST_KNOWN:
            known.clear()
        out = []
        for word in words(text):
            number = known.get(word)
            if number is None:
                number = known[word] = self._number(word)
            if number >= 0:
                out.append(number)
        return out

    def _number(self, word: str) -> int:
        if word in self._stop:
            return -1
        stem = word if self._stem is None else self._stem.stemWord(word)
        return zlib.crc32(stem.encode("utf-8", "surrogatepass"))

    def counted(self, text: str | None) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """A text's terms, ascending, and how often each occurs."""
        terms, counts = np.unique(np.array(self.terms(text), dtype=np.uint32), return_counts=True)
        return terms, counts.astype(np.int64)


def words(text: str) -> Iterable[str]:
    """Lower-case words of at least two characters; pairs of characters where none are spaced."""
    if text.isascii():
        return _WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).lower()
    found: list[str] = []
    for run in _UNSPACED.findall(text):
        found += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
    return found + _WORD.findall(_UNSPACED.sub(" ", text))


def as_texts(texts: Any, name: str = "texts") -> list[str | None]:
    """Check texts: one or several; None stands for an empty one.

    Raises
    ------
    InvalidInputError
        Something else than text.
    """
    if texts is None or isinstance(texts, str):
        return [texts]
    try:
        found = list(texts)
    except TypeError as error:
        raise InvalidInputError(
            f"{name} must be texts, got {type(texts).__name__}. Pass a list of strings."
        ) from error
    for i, text in enumerate(found):
        if text is not None and not isinstance(text, str):
            if not (isinstance(text, float) and math.isnan(text)):  # pandas has NaN for none
                raise InvalidInputError(
                    f"{name}[{i}] is {type(text).__name__} {text!r:.60}, expected a string or None."
                )
            found[i] = None
    return found
