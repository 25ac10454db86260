"""The `page` layout: text in lines across a page, as published weights know pages.

A page of side S holds S/16 lines of S/8 cells; a narrow character is one cell, a wide one
two. Line breaks, indentation and tabs (stops every eight cells) are kept, so that code and
tables stay in their columns. Lines break at spaces and beside wide characters; a word wider
than the page breaks anywhere. Combining marks stand on the character before them. Runs of
right-to-left script are set from the right within their line, letters unjoined: the font
has bitmaps and no shaping. Control characters show their picture (␀), what the font lacks
its replacement character. Nothing is cut: text continues on further pages.

The output depends on the text and on `PAGE_VERSION` only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.typesetting import font

PAGE_VERSION = 1
TAB_CELLS = 8
_NEWLINE = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_PIECE = re.compile(r" +|[^ ]+")
_MARKS = ("Mn", "Me")
_RTL = ("R", "AL")
_NEUTRAL = ("WS", "ON", "ES", "CS", "NSM", "ET")
_PICTURES = 0x2400  # of control characters 0 to 31; delete is 0x2421


@dataclass(frozen=True)
class Glyph:
    """A character with its combining marks.

    Attributes
    ----------
    text : str
    cells : int
        1 or 2.
    """

    text: str
    cells: int


def shown(text: str) -> str:
    """The characters that stand on the page: pictures for controls, no invisible ones."""
    out = []
    for character in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(character)
        if kind == "Cc" and character != "\t":
            code = ord(character)
            out.append(
                chr(_PICTURES + (code if code < 32 else 0x21)) if code < 128 else chr(0xFFFD)
            )
        elif kind == "Cs":
            out.append(chr(0xFFFD))
        elif kind == "Zs":
            out.append(" ")
        elif kind != "Cf":
            out.append(character)
    return "".join(out)


def _glyphs(line: str) -> list[Glyph]:
    """Glyphs of a line without line breaks; tabs become spaces."""
    out: list[Glyph] = []
    cells = 0
    for character in line:
        if character == "\t":
            step = TAB_CELLS - cells % TAB_CELLS
            out += [Glyph(" ", 1)] * step
            cells += step
        elif out and unicodedata.category(character) in _MARKS:
            out[-1] = Glyph(out[-1].text + character, out[-1].cells)
        else:
            out.append(Glyph(character, font.cells(character)))
            cells += out[-1].cells
    return out


def _width(glyphs: Sequence[Glyph]) -> int:
    return sum(glyph.cells for glyph in glyphs)


def _pieces(glyphs: list[Glyph]) -> list[list[Glyph]]:
    """Runs of spaces, words, and single wide characters."""
    out: list[list[Glyph]] = []
    for glyph in glyphs:
        space, wide = glyph.text == " ", glyph.cells == 2
        if out and not wide and out[-1][-1].cells == 1 and (out[-1][-1].text == " ") == space:
            out[-1].append(glyph)
        else:
            out.append([glyph])
    return out


def _wrapped(glyphs: list[Glyph], columns: int) -> list[list[Glyph]]:
    """Lines of at most `columns` cells; spaces at a break are dropped."""
    lines: list[list[Glyph]] = []
    line: list[Glyph] = []
    for piece in _pieces(glyphs):
        if _width(line) + _width(piece) <= columns:
            line = line + piece
            continue
        if piece[0].text == " ":  # the break stands for the spaces
            lines.append(line)
            line = []
            continue
        if line and line[-1].text == " ":
            while line and line[-1].text == " ":
                line.pop()
        if line:
            lines.append(line)
        line = []
        for glyph in piece:
            if _width(line) + glyph.cells > columns:
                lines.append(line)
                line = []
            line.append(glyph)
    return [*lines, line]


def _visual(line: list[Glyph]) -> list[Glyph]:
    """Right-to-left runs turned round; neutral glyphs between two of them turn with them."""
    kinds = [unicodedata.bidirectional(glyph.text[0]) for glyph in line]
    if not any(kind in _RTL for kind in kinds):
        return line
    rtl = [kind in _RTL for kind in kinds]
    inside: list[int] = []
    for place, kind in enumerate(kinds):
        if rtl[place]:
            for between in inside:
                rtl[between] = True
            inside = []
        elif kind in _NEUTRAL and (inside or (place and rtl[place - 1])):
            inside.append(place)
        else:
            inside = []
    out: list[Glyph] = []
    run: list[Glyph] = []
    for glyph, turned in zip(line, rtl, strict=True):
        if turned:
            run.append(glyph)
        else:
            out += [*reversed(run), glyph]
            run = []
    return [*out, *reversed(run)]


class PageTypesetter:
    """Typesets texts in lines across square pages.

    Parameters
    ----------
    side : int
        Side of a page in pixels, a multiple of 64.
    """

    version = PAGE_VERSION

    def __init__(self, side: int) -> None:
        if side < 64 or side % 64:
            raise InvalidInputError(f"a page's side is {side} px, expected a multiple of 64")
        self.side = side
        self.columns = side // font.CELL_WIDTH
        self.rows = side // font.CELL_HEIGHT

    def lines(self, text: str) -> list[list[Glyph]]:
        """Lines of a text in visual order, each at most `columns` cells wide."""
        out = []
        for line in _NEWLINE.split(text):
            glyphs = _glyphs(shown(line))
            while glyphs and glyphs[-1].text == " ":
                glyphs.pop()
            out += [_visual(wrapped) for wrapped in _wrapped(glyphs, self.columns)]
        while out and not out[-1]:
            out.pop()
        return out

    def pages(self, text: str) -> list[NDArray[np.uint8]]:
        """Pages of a text.

        Returns
        -------
        list of ndarray of shape (side, side), uint8
            Grey levels, 255 is paper.
        """
        lines = self.lines(text)
        return [
            self.set_lines(lines[start : start + self.rows])
            for start in range(0, len(lines), self.rows)
        ]

    def set_lines(self, lines: Sequence[Sequence[Glyph]]) -> NDArray[np.uint8]:
        """One page of lines, at most `rows` of them."""
        ink = np.zeros((self.side, self.side), np.uint8)
        for row, line in enumerate(lines):
            top, left = row * font.CELL_HEIGHT, 0
            for glyph in line:
                for character in glyph.text:
                    bitmap = font.bitmap(character)
                    width = min(bitmap.shape[1], self.side - left)
                    place = ink[top : top + font.CELL_HEIGHT, left : left + width]
                    np.bitwise_or(place, bitmap[:, :width], out=place)
                left += glyph.cells * font.CELL_WIDTH
        return (1 - ink) * np.uint8(255)
