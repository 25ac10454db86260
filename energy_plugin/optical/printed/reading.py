"""What is read on a page: words, where they stand, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Word:
    """A word on a page.

    Attributes
    ----------
    text : str
    box : tuple of float
        Left, top, right, bottom in pixels of the image as it is shown, upright.
    confidence : float
        Geometric mean of the probabilities of its characters, 0 to 1.
    line : int
        Line that it stands on, in reading order.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float
    line: int


@dataclass(frozen=True)
class Reading:
    """What is read on one page.

    Attributes
    ----------
    words : tuple of Word
        In reading order.
    size : tuple of int
        Width and height of the image in pixels, upright.
    skew : float
        Degrees by which its lines fell to the right.
    """

    words: tuple[Word, ...]
    size: tuple[int, int]
    skew: float

    @cached_property
    def text(self) -> str:
        """Lines of text; words that a hyphen parts at the end of a line are joined."""
        lines: list[list[str]] = []
        last = -1
        for word in self.words:
            if word.line != last:
                lines.append([])
                last = word.line
            lines[-1].append(word.text)
        out: list[str] = []
        for line in lines:
            parted = bool(out) and _parted(out[-1], line[0])
            if parted:
                out[-1] = out[-1][:-1] + line[0]
            if line[parted:]:
                out.append(" ".join(line[parted:]))
        return "\n".join(out)

    @property
    def confidence(self) -> float:
        """Mean over the words, by their characters; 0 of a page without words."""
        count = sum(len(word.text) for word in self.words)
        return sum(len(word.text) * word.confidence for word in self.words) / max(1, count)


def _parted(line: str, following: str) -> bool:
    """Whether a hyphen at the end of a line parts a word that goes on below."""
    stem = line.rsplit(" ", 1)[-1]
    return (
        len(stem) > 2
        and stem[-1] in "-\N{HYPHEN}\N{SOFT HYPHEN}"
        and stem[-2].isalpha()
        and stem[-2].islower()
        and following[:1].islower()
    )
