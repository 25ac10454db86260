"""Lines of text as cells of glyphs, drawn on whatever device trains.

A line is eight numbers of glyphs instead of 1024 pixels, so that a vocabulary of a
million lines takes 32 MB and its images are gathered where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.tiles import LINE_CELLS, TILE_SIDE

_PAPER = 255


@dataclass(frozen=True)
class GlyphSheet:
    """Typeset lines.

    Attributes
    ----------
    glyphs : Tensor of shape (g, 16, 8), uint8
        Grey levels of single cells; the first is blank.
    cells : Tensor of shape (n, 8), int32
        Glyphs of each line.
    """

    glyphs: Tensor
    cells: Tensor

    @classmethod
    def of(cls, lines: Iterable[str]) -> GlyphSheet:
        """Typeset lines of at most eight cells."""
        blank = np.full((font.CELL_HEIGHT, font.CELL_WIDTH), _PAPER, np.uint8)
        glyphs, known = [blank], {"": [0]}
        rows = []
        for line in lines:
            row: list[int] = []
            for character in line:
                if character not in known:
                    grey = (1 - font.bitmap(character)) * np.uint8(_PAPER)
                    halves = np.split(grey, grey.shape[1] // font.CELL_WIDTH, axis=1)
                    known[character] = list(range(len(glyphs), len(glyphs) + len(halves)))
                    glyphs.extend(halves)
                row.extend(known[character])
            rows.append(row + [0] * (LINE_CELLS - len(row)))
        cells = np.array(rows, dtype=np.int32).reshape(-1, LINE_CELLS)
        return cls(torch.from_numpy(np.stack(glyphs)), torch.from_numpy(cells))

    def __len__(self) -> int:
        return len(self.cells)

    def to(self, device: torch.device) -> GlyphSheet:
        """The same sheet on a device."""
        return GlyphSheet(self.glyphs.to(device), self.cells.to(device))

    def images(self, rows: Tensor) -> Tensor:
        """Grey levels of some lines: (r, 16, 64), uint8."""
        drawn = self.glyphs[self.cells[rows].long()]  # (r, 8, 16, 8)
        return drawn.permute(0, 2, 1, 3).reshape(len(rows), font.CELL_HEIGHT, TILE_SIDE)
