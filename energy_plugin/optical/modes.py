"""Page modes of the DeepEncoder and their vision tokens: arithmetic only.

A page of side S gives a grid of g = S/64 vision tokens a side. The published layout
appends a newline token to every row and one separator at the end, so a global view
counts g·(g + 1) + 1. Gundam adds tiles of m = 10 tokens a side in front: C columns and
R rows of tiles are one map of R·m rows with C·m + 1 tokens each, unless there is only
one tile (DeepSeek-AI, "DeepSeek-OCR: Contexts Optical Compression", 2025, section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from energy_plugin.errors import InvalidInputError

PATCH = 16  # px of a patch
TOKEN_PX = 64  # px of a vision token: a patch times the 4× compressor along each side
MAX_TILES = 9  # of the published code; smaller where memory is
MIN_TILES = 2


@dataclass(frozen=True)
class Mode:
    """Resolution of a page.

    Attributes
    ----------
    name : str
    base : int
        Side of the page, or of the global view, in pixels.
    tile : int
        Side of a tile in pixels; 0 in modes without tiles.
    squash : bool
        Images are resized to the square whatever their proportions (the published
        preprocessing of the two smallest modes); else padded with grey.
    """

    name: str
    base: int
    tile: int = 0
    squash: bool = False

    @property
    def grid(self) -> int:
        """Vision tokens along a side of the page."""
        return self.base // TOKEN_PX

    def tokens(self, columns: int = 1, rows: int = 1) -> int:
        """Tokens of a page as the decoder gets them, newlines and separator included.

        Parameters
        ----------
        columns, rows : int, default=1
            Tiles across and down, of modes that have tiles.
        """
        if min(columns, rows) < 1:
            raise InvalidInputError(f"columns={columns}, rows={rows}: expected at least 1 each")
        if columns * rows > 1 and not self.tile:
            raise InvalidInputError(
                f"mode {self.name!r} has no tiles, got {columns}×{rows}; use 'gundam'"
            )
        count = self.grid * (self.grid + 1) + 1
        if columns * rows > 1:
            side = self.tile // TOKEN_PX
            count += rows * side * (columns * side + 1)
        return count

    def content_tokens(self, columns: int = 1, rows: int = 1) -> int:
        """Tokens that show a part of the page: without newlines and separator."""
        count = self.grid * self.grid
        if self.tokens(columns, rows) and columns * rows > 1:
            count += columns * rows * (self.tile // TOKEN_PX) ** 2
        return count


MODES = {
    mode.name: mode
    for mode in (
        Mode("tiny", 512, squash=True),
        Mode("small", 640, squash=True),
        Mode("base", 1024),
        Mode("large", 1280),
        Mode("gundam", 1024, tile=640),
    )
}
AUTO = "auto"
PAGE_MODES = ("tiny", "small", "base", "large")  # one view each, small to large


def as_mode(mode: str | Mode) -> Mode:
    """The mode of a name.

    Raises
    ------
    InvalidInputError
        There is none of that name.
    """
    if isinstance(mode, Mode):
        return mode
    found = MODES.get(mode.lower()) if isinstance(mode, str) else None
    if found is None:
        raise InvalidInputError(f"mode is {mode!r}, expected one of {list(MODES)}")
    return found


def tile_grid(
    width: int, height: int, *, tile: int = 640, max_tiles: int = MAX_TILES
) -> tuple[int, int]:
    """Columns and rows of tiles for an image, by the published rule.

    Images of which no side is longer than a tile get none, (1, 1). Else the grid of 2 to
    `max_tiles` tiles whose proportions are nearest to the image's; of equally near ones
    a larger one, if the image has more than half its pixels.
    """
    if width < 1 or height < 1:
        raise InvalidInputError(f"an image of {width}×{height} px has no pixels to tile")
    if max(width, height) <= tile:
        return 1, 1
    grids = sorted(
        (
            (columns, rows)
            for columns in range(1, max_tiles + 1)
            for rows in range(1, max_tiles + 1)
            if MIN_TILES <= columns * rows <= max_tiles
        ),
        key=lambda grid: grid[0] * grid[1],
    )
    best, smallest = (1, 1), float("inf")
    for columns, rows in grids:
        difference = abs(width / height - columns / rows)
        larger = width * height > 0.5 * tile * tile * columns * rows
        if difference < smallest or (difference == smallest and larger):
            best, smallest = (columns, rows), difference
    return best
