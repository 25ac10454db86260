"""Lines of text to line tokens: the first 4× of the compact encoder's compressor.

Shapes: U distinct lines, M windows, E width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.network.layers import PATCH
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.tiles import CONTINUATION, TILE_SIDE

LINE_PATCHES = TILE_SIDE // PATCH
WINDOW_LINES = 3  # the line before, the line, the line after
ASKED_ROWS = 1024  # readings that ask the glossary at once: 100 MB of products


class Glossary(nn.Module):
    """An associative memory: the softmax of a reading's products with keys weighs values.

    One update of a modern Hopfield network (Ramsauer et al., "Hopfield Networks is All
    You Need", 2021) with learned keys and values.

    Parameters
    ----------
    reading : int
        Channels of a reading.
    slots : int
    width : int
        Channels of a value.
    """

    def __init__(self, reading: int, slots: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Linear(reading, slots)
        self.values = nn.Embedding(slots, width)

    def forward(self, reading: Tensor) -> Tensor:
        """Readings (M, R) to (M, E)."""
        return F.softmax(self.keys(reading), dim=-1) @ self.values.weight


class LineStem(nn.Module):
    """Pixels of text lines to line tokens: patch embedding and the 4× compressor.

    Both convolutions have stride equal to kernel, so they are matrix products over the
    pixels of a patch and the patches of a line. With a glossary, a line is read together
    with its neighbours as far as they belong to the same word (`windows`), and the reading
    asks the glossary; without one, each line is read by itself.
    """

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(PATCH * PATCH, config.patch_dim)
        lines = WINDOW_LINES if config.glossary else 1
        sizes = [lines * LINE_PATCHES * config.patch_dim, *config.line_hidden]
        if not config.glossary:
            sizes.append(config.width)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.glossary = (
            Glossary(sizes[-1], config.glossary, config.width) if config.glossary else None
        )

    def forward(self, lines: Tensor, windows: Tensor) -> Tensor:
        """Normalised pixels (U, 16, 64) of distinct lines, windows (M, 3), to (M, E)."""
        reading = self.read(lines, windows)
        if self.glossary is None:
            return reading
        return torch.cat([self.glossary(some) for some in torch.split(reading, ASKED_ROWS)])

    def read(self, lines: Tensor, windows: Tensor) -> Tensor:
        """What the layers make of windows (M, 3) of lines (U, 16, 64), (M, R)."""
        patches = lines.unflatten(2, (LINE_PATCHES, PATCH)).transpose(1, 2)  # (U, 4, 16, 16)
        x: Tensor = self.patch_embed(patches.flatten(2)).flatten(1)  # (U, 4 * patch_dim)
        x = x[windows].flatten(1) if self.glossary is not None else x[windows[:, 1]]
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


def continues(lines: Tensor) -> Tensor:
    """Whether lines (U, 16, 64) of grey levels begin with the mark ``¬``, (U,)."""
    mark = torch.from_numpy(1 - font.bitmap(CONTINUATION)).to(lines.device) * 255  # (16, 8)
    return (lines[:, :, : mark.shape[1]] == mark).flatten(1).all(1)


def windows(lines: Tensor, line_of_tile: Tensor, tiles_of_page: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct windows of the pages of a batch, and which one stands where.

    Parameters
    ----------
    lines : Tensor of shape (U, 16, 64), uint8
        Distinct lines; the last one is blank.
    line_of_tile : Tensor of shape (N, 4), int64
    tiles_of_page : Tensor of shape (P,), int64

    Returns
    -------
    windows : Tensor of shape (M, 3), int64
        The line before, the line, the line after; the blank line where it would belong to
        another word or stand on another page.
    window_of_tile : Tensor of shape (N, 4), int64
    """
    here = line_of_tile.flatten()
    count = len(lines)
    blank = torch.full_like(here, count - 1)
    goes_on = continues(lines)[here]
    firsts = line_of_tile.shape[1] * (tiles_of_page.cumsum(0) - tiles_of_page)
    goes_on[firsts] = False
    before = torch.where(goes_on, here.roll(1), blank)
    after = torch.where(goes_on.roll(-1), here.roll(-1), blank)
    code, place = torch.unique((before * count + here) * count + after, return_inverse=True)
    found = torch.stack([code // count**2, code // count % count, code % count], dim=1)
    return found, place.view_as(line_of_tile)
