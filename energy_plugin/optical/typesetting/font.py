"""GNU Unifont as bitmaps: characters to 8×16 px cells, without a font engine.

A narrow glyph is one cell, a wide one (CJK, most of the rest of the world) two.
Bitmaps are the font's own, so a page is the same to the pixel on every machine.
"""

from __future__ import annotations

import hashlib
import lzma
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import CheckpointError

CELL_WIDTH = 8
CELL_HEIGHT = 16
FONT_FILE = "unifont-15.0.01.hex.xz"
FONT_SHA256 = "eaa8839e77ffbd026fdd05479138bcee6ee3bea964d2566e7f5acc3b84acaa93"
MOST_BYTES = 1 << 25  # of the unpacked font
MOST_MEMORY = 1 << 27  # to unpack it
REPLACEMENT = 0xFFFD


@lru_cache(maxsize=1)
def _glyphs() -> dict[int, str]:
    """Hexadecimal bitmaps by code point (32 digits narrow, 64 digits wide)."""
    path = resources.files("energy_plugin.optical") / "assets" / FONT_FILE
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != FONT_SHA256:
        raise CheckpointError(
            f"{FONT_FILE} has the SHA-256 {digest}, expected {FONT_SHA256}: it is altered. "
            "Install energy-plugin again"
        )
    return read_glyphs(data)


def read_glyphs(data: bytes) -> dict[int, str]:
    """Hexadecimal bitmaps by code point of a packed font: one ``code:bitmap`` a line.

    Parameters
    ----------
    data : bytes
        xz stream; at most `MOST_BYTES` unpacked.

    Raises
    ------
    CheckpointError
        Cut off, too long, or not such lines.
    """
    try:
        unpacker = lzma.LZMADecompressor(memlimit=MOST_MEMORY)
        text = unpacker.decompress(data, MOST_BYTES).decode("ascii")
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError(f"it is cut off, or longer than {MOST_BYTES} bytes")
        glyphs = {}
        for line in text.split():
            code, bits = line.split(":")
            if len(bits) not in (32, 64):
                raise ValueError(f"the bitmap of {code} has {len(bits)} digits")
            bytes.fromhex(bits)
            glyphs[int(code, 16)] = bits
        if REPLACEMENT not in glyphs:
            raise ValueError("it lacks the replacement character")
    except (ValueError, lzma.LZMAError) as error:
        raise CheckpointError(
            f"the font is damaged ({error}). Install energy-plugin again"
        ) from error
    return glyphs


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


@lru_cache(maxsize=1)
def shapes() -> frozenset[str]:
    """Hexadecimal bitmaps of all characters: 32 digits a narrow one, 64 a wide one."""
    return frozenset(_glyphs().values())
