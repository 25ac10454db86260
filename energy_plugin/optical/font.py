"""GNU Unifont as bitmaps: characters to 8×16 px cells, without a font engine.

A narrow glyph is one cell, a wide one (CJK, most of the rest of the world) two.
Bitmaps are the font's own, so a page is the same to the pixel on every machine.
"""

from __future__ import annotations

import lzma
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

CELL_WIDTH = 8
CELL_HEIGHT = 16
FONT_FILE = "unifont-15.0.01.hex.xz"
REPLACEMENT = 0xFFFD


@lru_cache(maxsize=1)
def _glyphs() -> dict[int, str]:
    """Hexadecimal bitmaps by code point (32 digits narrow, 64 digits wide)."""
    path = resources.files("energy_plugin.optical") / "assets" / FONT_FILE
    text = lzma.decompress(path.read_bytes()).decode("ascii")
    return {int(code, 16): bits for code, bits in (line.split(":") for line in text.split())}


@lru_cache(maxsize=65536)
def cells(character: str) -> int:
    """Width of a character in cells: 1 or 2.

    Characters that the font lacks count as wide as its replacement character.
    """
    glyphs = _glyphs()
    return len(glyphs.get(ord(character), glyphs[REPLACEMENT])) // 32


@lru_cache(maxsize=65536)
def bitmap(character: str) -> NDArray[np.uint8]:
    """Ink of one character.

    Returns
    -------
    ndarray of shape (16, 8 * cells), uint8
        1 where there is ink, else 0. Read-only.
    """
    glyphs = _glyphs()
    digits = glyphs.get(ord(character), glyphs[REPLACEMENT])
    packed = np.frombuffer(bytes.fromhex(digits), dtype=np.uint8).reshape(CELL_HEIGHT, -1)
    ink = np.unpackbits(packed, axis=1)
    ink.flags.writeable = False
    return ink
