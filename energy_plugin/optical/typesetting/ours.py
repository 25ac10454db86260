"""Whether a picture is a page of the typesetter, to the pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.tiles import TILE_SIDE, cut_tiles

_LARGEST_SIDE = 16 * TILE_SIDE
_DIGITS = 2 * font.CELL_HEIGHT  # of a narrow glyph


def own_tiles(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Tiles of a page that the typesetter has set, also at a multiple of its size.

    Parameters
    ----------
    grey : ndarray of shape (height, width), uint8

    Returns
    -------
    ndarray of shape (n_tiles, 64, 64), uint8, or None
        In reading order, without blank ones at the end; None of any other picture.
    """
    if not grey.size or any(side % TILE_SIDE for side in grey.shape):
        return None
    if not ((grey == 0) | (grey == 255)).all() or not (grey == 0).any():
        return None
    for times in (1, 2, 3, 4):
        small = grey[::times, ::times]
        if any(side % TILE_SIDE or side > _LARGEST_SIDE for side in small.shape):
            continue
        if any(side != times * less for side, less in zip(grey.shape, small.shape, strict=True)):
            continue
        if times > 1 and not (small.repeat(times, 0).repeat(times, 1) == grey).all():
            continue
        tiles = cut_tiles(np.ascontiguousarray(small))
        if _is_set(tiles):
            inked = np.flatnonzero((tiles < 255).any(axis=(1, 2)))
            return tiles[: inked[-1] + 1]
    return None


def _is_set(tiles: NDArray[np.uint8]) -> bool:
    """Whether every line of the tiles is a row of glyphs of the font."""
    packed = np.packbits(tiles == 0, axis=2).reshape(-1, font.CELL_HEIGHT, TILE_SIDE // 8)
    return all(map(_is_line, np.unique(packed, axis=0)))


def _is_line(line: NDArray[np.uint8]) -> bool:
    """Whether the bits (16, 8) of a line are glyphs, side by side."""
    known = font.shapes()
    cells = line.shape[1]
    cell = 0
    while cell < cells:
        narrow = line[:, cell].tobytes().hex().upper()
        wide = line[:, cell : cell + 2].tobytes().hex().upper()
        if narrow in known or not narrow.strip("0"):
            cell += 1
        elif len(wide) == 2 * _DIGITS and wide in known:
            cell += 2
        else:
            return False
    return True
