"""Texts cut at paragraphs, so that a hit shows the place and not a whole book."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])")
_WORD = re.compile(r"\S+\s*")


def passages(text: str, size: int, overlap: int = 0) -> list[str]:
    """Cut a text into passages of about `size` characters, at most twice as many.

    Paragraphs stay whole where they fit, sentences where paragraphs do not, and words always:
    only what has more than ``2 * size`` characters without a space is cut inside.

    Parameters
    ----------
    text : str
    size : int
        Characters of a passage.
    overlap : int, default 0
        A passage starts with the last sentences of the one before it, of at most that many
        characters together.

    Returns
    -------
    list of str
        Together they hold every character of the text that is not white space.
    """
    found: list[str] = []
    held = ""
    for piece, joint in _pieces(text, size):
        if held and len(held) + len(joint) + len(piece) > size:
            found.append(held)
            held = _tail(held, min(overlap, size - len(piece))) if overlap else ""
            joint = " "  # noqa: PLW2901 - what is repeated stands before
        held = f"{held}{joint if held else ''}{piece}"
    return [*found, held] if held else found


def _tail(text: str, most: int) -> str:
    """The last whole sentences, of at most `most` characters together."""
    kept = ""
    for sentence in reversed(_SENTENCE.split(text)):
        longer = f"{sentence} {kept}".strip()
        if len(longer) > most or longer == text:
            break
        kept = longer
    return kept


def _pieces(text: str, size: int) -> Iterator[tuple[str, str]]:
    """Paragraphs, sentences of long ones, slices of long sentences; and what joins them."""
    for paragraph in filter(None, (part.strip() for part in _PARAGRAPH.split(text))):
        if len(paragraph) <= size:
            yield paragraph, "\n\n"
            continue
        joint = "\n\n"
        for sentence in filter(None, _SENTENCE.split(paragraph)):
            if len(sentence) <= size:
                yield sentence, joint
                joint = " "
                continue
            for piece, glue in _slices(sentence, size):
                yield piece, joint if glue else ""
                joint = " "


def _slices(sentence: str, size: int) -> Iterator[tuple[str, bool]]:
    """Words together up to `size`; and whether white space stood before each slice."""
    held = ""
    for word in _WORD.findall(sentence):
        if held and len(held) + len(word.rstrip()) > size:
            yield held.rstrip(), True
            held = ""
        if len(word) > 2 * size:
            first = True
            for part in _forced(word.rstrip(), size):
                yield part, first
                first = False
            continue
        held += word
    if held:
        yield held.rstrip(), True


def _forced(word: str, size: int) -> Iterator[str]:
    """Parts of what has no space, accents kept with their letters."""
    start = 0
    while start < len(word):
        end = min(start + size, len(word))
        while (
            start < end < len(word) and unicodedata.combining(word[end]) and end - start < 2 * size
        ):
            end += 1
        yield word[start:end]
        start = end
