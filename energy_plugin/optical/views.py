"""Images and pages to the square views that the full encoder reads, as published.

Pixels enter as grey / 127.5 − 1. Tiny and Small squash an image to their square, Base,
Large and every global view keep its proportions and fill up with grey 127; Gundam adds
tiles. Typeset pages have the view's size already and are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.images import Picture, opened
from energy_plugin.optical.modes import MAX_TILES, TOKEN_PX, Mode, tile_grid

if TYPE_CHECKING:
    from PIL.Image import Image

FILL = 127
PAPER = 240  # grey level from which on all of a 64×64 px area is paper, scanned or set


@dataclass(frozen=True, eq=False)
class View:
    """What the encoder sees at once.

    Attributes
    ----------
    pixels : ndarray of shape (S, S) or (S, S, 3), uint8
    content : ndarray of shape ((S/64)²,), bool
        Vision tokens whose area shows something; the others are paper or filling.
    """

    pixels: NDArray[np.uint8]
    content: NDArray[np.bool_]

    @property
    def side(self) -> int:
        """Pixels along a side."""
        return len(self.pixels)

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> View:
        """A view whose content is what is not flat."""
        grid = len(pixels) // TOKEN_PX
        areas = pixels.reshape(grid, TOKEN_PX, grid, TOKEN_PX, -1)
        low, high = areas.min((1, 3)), areas.max((1, 3))  # (g, g, channels)
        filling = (low == FILL) & (high == FILL)
        paper = low >= PAPER
        return cls(pixels, ~(filling | paper).all(-1).reshape(-1))


def _rgb(image: Picture, position: int) -> Image:
    from PIL import Image as PilImage

    found = opened(image, position)
    if found.has_transparency_data:
        seen = found.convert("RGBA")
        found = PilImage.alpha_composite(PilImage.new("RGBA", seen.size, "white"), seen)
    return found.convert("RGB")


def views_of_image(
    image: Picture, mode: Mode, position: int = 0, *, max_tiles: int = MAX_TILES
) -> tuple[list[View], tuple[int, int]]:
    """Views of an image: its tiles row by row where the mode has some, then the page.

    Returns
    -------
    list of View
    (int, int)
        Columns and rows of tiles; (1, 1) where there are none.

    Raises
    ------
    InvalidInputError
        The image cannot be read, has no pixels, or nothing on it.
    """
    from PIL import Image as PilImage
    from PIL import ImageOps

    bicubic = PilImage.Resampling.BICUBIC
    page = _rgb(image, position)
    if min(page.size) < 1:
        raise InvalidInputError(f"images[{position}] has {page.size} px; leave it out")
    columns, rows = 1, 1
    views: list[View] = []
    if mode.tile:
        columns, rows = tile_grid(*page.size, tile=mode.tile, max_tiles=max_tiles)
    if columns * rows > 1:
        whole = np.asarray(page.resize((mode.tile * columns, mode.tile * rows), bicubic))
        for row in range(rows):
            for column in range(columns):
                top, left = row * mode.tile, column * mode.tile
                views.append(View.of(whole[top : top + mode.tile, left : left + mode.tile]))
    size = (mode.base, mode.base)
    if page.size == size:
        full = page
    elif mode.squash:
        full = page.resize(size, bicubic)
    else:
        full = ImageOps.pad(page, size, method=bicubic, color=(FILL, FILL, FILL))
    views.append(View.of(np.asarray(full)))
    if not any(view.content.any() for view in views):
        raise InvalidInputError(f"images[{position}] is blank; leave it out")
    return views, (columns, rows)
