"""Characters beyond the font's plane, in words that it has glyphs for.

The font ends at U+FFFF, so that all emoji would be one and the same replacement glyph. A symbol
is spelled by its Unicode name (🍞 "bread"), two regional indicators by their letters (🇫🇷 "FR"),
styled letters by the letters they stand for (𝐀 "A"). What no rule covers stays as it is.
"""

from __future__ import annotations

import re
import unicodedata

_BEYOND = re.compile("[\U00010000-\U0010ffff]")
_FLAG = re.compile("([\U0001f1e6-\U0001f1ff])([\U0001f1e6-\U0001f1ff])")
# with the variants, joiners and skin tones behind it
_SYMBOL = re.compile("([\U00010000-\U0010ffff])[\ufe0f\u200d\U0001f3fb-\U0001f3ff]*")
_FIRST_INDICATOR = 0x1F1E6


def spelled(text: str) -> str:
    """The text with such characters spelled out; the same text where there are none."""
    if _BEYOND.search(text) is None:
        return text
    flags = _FLAG.sub(lambda found: f" {_letter(found[1])}{_letter(found[2])} ", text)
    return _SYMBOL.sub(lambda found: _named(found[1]), flags)


def _letter(indicator: str) -> str:
    return chr(ord("A") + ord(indicator) - _FIRST_INDICATOR)


def _named(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    if _BEYOND.search(plain) is None:
        return plain
    if unicodedata.category(character)[0] != "S":  # letters of a script have no name that says more
        return character
    name = unicodedata.name(character, "").lower()
    return f" {name} " if name else character
