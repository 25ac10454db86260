"""Texts cut at paragraphs, so that a hit shows the place and not a whole book."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def passages(text: str, size: int) -> list[str]:
    """Cut a text into passages of about `size` characters, at most twice as many.

    Paragraphs stay whole where they fit, sentences where paragraphs do not; nothing is lost.
    """
    found: list[str] = []
    held = ""
    for piece, joint in _pieces(text, size):
        if held and len(held) + len(piece) > size:
            found.append(held)
            held = ""
        held = f"{held}{joint if held else ''}{piece}"
    return [*found, held] if held else found


def _pieces(text: str, size: int) -> Iterator[tuple[str, str]]:
    """Paragraphs, sentences of long ones, slices of long sentences; and what joins them."""
    for paragraph in filter(None, (part.strip() for part in _PARAGRAPH.split(text))):
        if len(paragraph) <= size:
            yield paragraph, "\n\n"
            continue
        joint = "\n\n"
        for sentence in _SENTENCE.split(paragraph):
            for start in range(0, len(sentence), size):
                yield sentence[start : start + size], joint
                joint = " " if start + size >= len(sentence) else ""
