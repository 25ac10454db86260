"""Text to page images, in the `tiles` layout.

A page is a grid of 64×64 px tiles, a tile four lines of eight 8×16 px cells, so
that one vision token reads one contiguous run of up to 32 characters and a short
query costs one tile. Every word starts on a line of its own; a word wider than a
line is broken, after punctuation where it has any, else anywhere, and then the
next line begins with the mark ``¬``. Emoji and other symbols that the font
lacks are spelled by their names. Nothing is ever cut: text that overflows a
page continues on the next one.

The output depends on the text and on `TYPESETTER_VERSION` only; the names of symbols
also on the Unicode data of Python, where they are newer than these.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.spelling import spelled

TYPESETTER_VERSION = 1
LINE_CELLS = 8
TILE_LINES = 4
TILE_SIDE = 64
CONTINUATION = "¬"

_PART = re.compile(r"[^\W_]+[\W_]*|[\W_]+")
_CACHE_LIMIT = 200_000
MAX_CHARACTERS = 5_000_000  # of one text: over 2,000 pages, far beyond what one vector can say


@dataclass(frozen=True)
class Page:
    """One typeset page.

    Attributes
    ----------
    pixels : ndarray of shape (height, width), uint8
        Grey levels, 255 is paper and 0 is ink; both sides are multiples of 64.
    n_tiles : int
        Tiles in use, in reading order; the others are blank.
    """

    pixels: NDArray[np.uint8]
    n_tiles: int


def _width(text: str) -> int:
    return sum(map(font.cells, text))


def _broken(word: str) -> list[str]:
    """Break a part that is wider than a line; later pieces carry the mark."""
    pieces, line, width = [], "", 0
    for character in word:
        step = font.cells(character)
        if width + step > LINE_CELLS:
            pieces.append(line)
            mark = CONTINUATION if character.isalnum() else ""
            line, width = mark, len(mark)
        line += character
        width += step
    return [*pieces, line]


def break_word(word: str) -> list[str]:
    """Lines of one word, each at most eight cells wide.

    Parameters
    ----------
    word : str
        Text without white space.

    Returns
    -------
    list of str
        At least one line.
    """
    if _width(word) <= LINE_CELLS:
        return [word]
    lines: list[str] = []
    line = ""
    for part in _PART.findall(word):
        if _width(line + part) <= LINE_CELLS:
            line += part
            continue
        if line:
            lines.append(line)
        *full, line = _broken(part)
        lines.extend(full)
    return [*lines, line]


class Typesetter:
    """Typesets texts and remembers the words and lines that it has seen.

    Parameters
    ----------
    page_tiles : int, default=8
        Tiles along each side of a full page (8 is a 512×512 px page of 64
        vision tokens).
    """

    def __init__(self, page_tiles: int = 8) -> None:
        if page_tiles < 1:
            raise InvalidInputError(f"page_tiles is {page_tiles}, expected at least 1")
        self.page_tiles = page_tiles
        self._words: dict[str, list[str]] = {}
        self._ink: dict[str, NDArray[np.uint8]] = {}

    def words(self, text: str) -> list[list[str]]:
        """Lines of every word of the text, word by word."""
        if len(self._words) > _CACHE_LIMIT:
            self._words.clear()
        known = self._words
        lines = []
        for word in spelled(unicodedata.normalize("NFC", text)).split():
            broken = known.get(word)
            if broken is None:
                broken = known[word] = break_word(word)
            lines.append(broken)
        return lines

    def lines(self, text: str) -> list[str]:
        """Lines of a text in reading order, each at most eight cells wide."""
        return [line for word in self.words(text) for line in word]

    def ink(self, line: str) -> NDArray[np.uint8]:
        """Ink of a line of at most eight cells.

        Returns
        -------
        ndarray of shape (16, 64), uint8
            1 where there is ink, else 0.
        """
        if len(self._ink) > _CACHE_LIMIT:
            self._ink.clear()
        found = self._ink.get(line)
        if found is None:
            found = np.zeros((font.CELL_HEIGHT, TILE_SIDE), np.uint8)
            x = 0
            for character in line:
                glyph = font.bitmap(character)
                found[:, x : x + glyph.shape[1]] = glyph
                x += glyph.shape[1]
            self._ink[line] = found
        return found

    def tiles(self, text: str) -> NDArray[np.uint8]:
        """Typeset a text as one run of tiles.

        Returns
        -------
        ndarray of shape (n_tiles, 64, 64), uint8
            Grey levels, 255 is paper. A text of white space alone has no tile.
        """
        return self.set_lines(self.lines(text))

    def set_lines(self, lines: Sequence[str]) -> NDArray[np.uint8]:
        """Tiles of lines that are already broken, four lines a tile."""
        n_tiles = -(-len(lines) // TILE_LINES)
        ink = np.zeros((n_tiles * TILE_LINES, font.CELL_HEIGHT, TILE_SIDE), np.uint8)
        for row, line in zip(ink, lines, strict=False):
            row[:] = self.ink(line)
        return ((1 - ink) * np.uint8(255)).reshape(n_tiles, TILE_SIDE, TILE_SIDE)

    def pages(self, text: str) -> list[Page]:
        """Typeset a text onto as many square pages as it needs.

        The last page is as small as its tiles allow: a short query is a strip
        of one row of tiles.
        """
        tiles = self.tiles(text)
        side = self.page_tiles
        return [
            _laid_out(tiles[start : start + side * side], side)
            for start in range(0, len(tiles), side * side)
        ]


def _laid_out(tiles: NDArray[np.uint8], side: int) -> Page:
    columns = min(side, len(tiles))
    rows = -(-len(tiles) // columns)
    grid = np.full((rows * columns, TILE_SIDE, TILE_SIDE), 255, np.uint8)
    grid[: len(tiles)] = tiles
    pixels = grid.reshape(rows, columns, TILE_SIDE, TILE_SIDE).swapaxes(1, 2)
    return Page(pixels.reshape(rows * TILE_SIDE, columns * TILE_SIDE), len(tiles))


def cut_tiles(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a page into its tiles, in reading order.

    Parameters
    ----------
    pixels : ndarray of shape (height, width), uint8
        Both sides are multiples of 64.

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8
    """
    height, width = pixels.shape
    if height % TILE_SIDE or width % TILE_SIDE:
        raise InvalidInputError(
            f"a page of {height}×{width} px cannot be cut into tiles: "
            f"both sides must be multiples of {TILE_SIDE}"
        )
    grid = pixels.reshape(height // TILE_SIDE, TILE_SIDE, width // TILE_SIDE, TILE_SIDE)
    return grid.swapaxes(1, 2).reshape(-1, TILE_SIDE, TILE_SIDE)


def check_texts(texts: str | Sequence[str]) -> list[str]:
    """Validate what a caller wants typeset.

    Raises
    ------
    InvalidInputError
        An element is not a string, or holds nothing but white space.
    """
    if not isinstance(texts, Iterable):
        raise InvalidInputError(
            f"texts is {type(texts).__name__}, expected a string or a sequence of strings"
        )
    batch = [texts] if isinstance(texts, str) else list(texts)
    for position, text in enumerate(batch):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"texts[{position}] is {type(text).__name__}, expected str; "
                "convert it, or leave the document out"
            )
        if not text.strip():
            raise InvalidInputError(
                f"texts[{position}] is empty or white space, so there is nothing to typeset; "
                "leave the document out or give it a title"
            )
        if len(text) > MAX_CHARACTERS:
            raise InvalidInputError(
                f"texts[{position}] has {len(text):,} characters, more than the maximum of "
                f"{MAX_CHARACTERS:,} per document; split it into passages"
            )
    return batch
