"""Pages as the model takes them: distinct lines and their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_plugin.optical.typesetting.tiles import TILE_LINES, TILE_SIDE


@dataclass(frozen=True)
class PageBatch:
    """A batch of pages.

    Equal lines are kept once: text repeats its frequent words many times.

    Attributes
    ----------
    lines : Tensor of shape (n_lines, 16, 64), uint8
        Grey levels of the distinct lines.
    line_of_tile : Tensor of shape (n_tiles, 4), int64
        Which line stands where.
    tiles_of_page : Tensor of shape (n_pages,), int64
    inked_lines : Tensor of shape (n_tiles,), int64
        Lines of a tile that are not blank; the weight of its token in pooling.
    """

    lines: Tensor
    line_of_tile: Tensor
    tiles_of_page: Tensor
    inked_lines: Tensor

    @classmethod
    def of(cls, pages: Sequence[NDArray[np.uint8]]) -> PageBatch:
        """Batch pages, each given as its (n_tiles, 64, 64) grey levels."""
        tiles = np.concatenate(pages)
        rows = tiles.reshape(-1, TILE_SIDE // TILE_LINES, TILE_SIDE)
        index: dict[bytes, int] = {}
        places = [index.setdefault(row.tobytes(), len(index)) for row in rows]
        distinct = np.frombuffer(b"".join(index), np.uint8).reshape(-1, *rows.shape[1:])
        lines = torch.from_numpy(distinct.copy())
        line_of_tile = torch.tensor(places, dtype=torch.int64, device="cpu").view(-1, TILE_LINES)
        inked = (lines < 255).flatten(1).any(1)[line_of_tile]
        counts = torch.tensor(list(map(len, pages)), dtype=torch.int64, device="cpu")
        return cls(lines, line_of_tile, counts, inked.sum(1))
