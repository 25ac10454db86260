"""The characters that the recogniser of print tells apart."""

from __future__ import annotations

import unicodedata

BLANK = 0  # of the recogniser's answers: no character here

CHARACTERS = (
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
    "abcdefghijklmnopqrstuvwxyz{|}~"
    "¡¢£¥§©«®°±²³µ¶·¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖ×ØÙÚÛÜÝßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ"
    "ĀāăąĆćČčďĐđĒēėęěğĪīıłńňŌōőŒœřŚśŞşŠšťŪūůűŹźżŽž"
    "αβγδεηθλμνπρστφχψωΓΔΘΛΠΣΦΨΩ"
    "–—‘’“”„†‡•…‰‹›€™←↑→↓∂∆∏∑−√∞≈≠≤≥"
)

_CODES = {character: place for place, character in enumerate(CHARACTERS, start=1)}
_ALIKE = {  # what looks the same in print
    "\N{MICRO SIGN}": "μ",
    "\N{OHM SIGN}": "Ω",
    "\N{INCREMENT}": "Δ",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{HYPHEN}": "-",
    "\N{GREEK SMALL LETTER FINAL SIGMA}": "ς",
    "\N{N-ARY SUMMATION}": "Σ",
    "\N{N-ARY PRODUCT}": "Π",
}
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"}


def readable(text: str) -> str:
    """The text as a reader could give it back: composed, what it does not know left out."""
    out = []
    for character in unicodedata.normalize("NFC", text):
        if character.isspace():
            out.append(" ")
            continue
        same = _LIGATURES.get(character, _ALIKE.get(character, character))
        out.append(same if all(each in _CODES for each in same) else "")
    return " ".join("".join(out).split())


def encoded(text: str) -> list[int]:
    """Numbers of the characters of a readable text."""
    return [_CODES[character] for character in text]


def decoded(code: int) -> str:
    """The character of a number that is not `BLANK`."""
    return CHARACTERS[code - 1]
