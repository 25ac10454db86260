"""The compact DeepEncoder: distinct lines of pages to vision tokens.

The stages are the published ones: attention over what is small, a 16× compressor that
leaves one token per 64×64 px tile, attention over the tokens of a page, a projector that
reads both. What differs: the first 4× of the compressor comes before the first attention
(`LineStem`), which therefore reads lines and can afford the whole page in every block, as
the published network does in every third; lines without ink are left out, and LayerNorm
stands after each sum, because the blocks start as the layers of a text model.

Shapes: N tiles of all pages of a batch, U distinct lines among them, P pages,
T tokens of the longest page, E width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.network.base import BaseEncoder
from energy_plugin.optical.network.layers import Attention, Block
from energy_plugin.optical.network.lines import LineStem, windows
from energy_plugin.optical.network.window_cache import WindowCache
from energy_plugin.optical.typesetting.tiles import TILE_LINES

_PAPER = 255


def compact_block(config: DeepEncoderConfig) -> Block:
    """A block of the compact encoder."""
    return Block(
        Attention(config.width, config.heads), config.width, config.mlp, eps=config.layer_norm_eps
    )


def tile_mask(tiles_of_page: Tensor) -> Tensor:
    """Places of a batch of padded pages that hold a tile, (P, T)."""
    places = torch.arange(int(tiles_of_page.max()), dtype=torch.int64, device=tiles_of_page.device)
    return places < tiles_of_page[:, None]


def alike(tiles_of_page: Tensor) -> Iterator[Tensor]:
    """Numbers of pages of like length, ascending: padding costs them at most a quarter."""
    order = tiles_of_page.argsort()
    sizes = tiles_of_page[order].tolist()
    start = 0
    for stop in range(1, len(sizes) + 1):
        if stop == len(sizes) or sizes[stop] > max(1.25 * sizes[start], sizes[start] + 2):
            yield order[start:stop].sort().values
            start = stop


class LocalEncoder(nn.Module):
    """Line tokens to one vision token per tile.

    With registers, the lines of a page attend to each other and to them (Darcet et al.,
    "Vision Transformers Need Registers", 2024); without, the lines of a tile among
    themselves.
    """

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__()
        self.line_stem = LineStem(config)
        places = TILE_LINES * config.page_tiles if config.registers else TILE_LINES
        self.pos_embed = nn.Parameter(torch.zeros(config.registers + places, config.width))
        self.pre_layernorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(compact_block(config) for _ in range(config.local_depth))
        self.compressor = nn.Linear(TILE_LINES * config.width, config.width, bias=False)
        self.registers = config.registers

    def attend(self, lines: Tensor, inked: Tensor, tiles_of_page: Tensor) -> Tensor:
        """Line tokens (N, 4, E), their ink (N, 4), tiles of pages (P,), to (N, 4, E)."""
        if not self.registers:
            return self._blocks(lines + self.pos_embed)
        page_of_tile = torch.repeat_interleave(tiles_of_page)
        places, parts = [], []
        for pages in alike(tiles_of_page):
            place = torch.isin(page_of_tile, pages).nonzero()[:, 0]
            places.append(place)
            parts.append(self._pages(lines[place], inked[place], tiles_of_page[pages]))
        return torch.cat(parts)[torch.cat(places).argsort()]

    def _pages(self, lines: Tensor, inked: Tensor, tiles_of_page: Tensor) -> Tensor:
        """Attention over the lines of each page, pages padded to the longest."""
        mask = tile_mask(tiles_of_page)
        pages, longest = mask.shape
        ahead = self.registers
        x = lines.new_zeros(pages, ahead + longest * TILE_LINES, lines.shape[-1])
        shown = inked.new_zeros(pages, longest, TILE_LINES)
        x[:, ahead:].unflatten(1, (longest, TILE_LINES))[mask] = lines
        shown[mask] = inked
        x = x + self.pos_embed[: x.shape[1]]
        x = self._blocks(x, F.pad(shown.flatten(1), (ahead, 0), value=True))
        return x[:, ahead:].unflatten(1, (longest, TILE_LINES))[mask]

    def _blocks(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.pre_layernorm(x)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def compress(self, lines: Tensor, inked: Tensor) -> Tensor:
        """Line tokens (N, 4, E) and their ink (N, 4) to vision tokens (N, E)."""
        out: Tensor = self.compressor((lines * inked[..., None]).flatten(1))
        if self.registers:  # the mean of the inked lines: one word of a tile counts as a word
            out = out * (TILE_LINES / inked.sum(1, keepdim=True).clamp_min(1).float())
        return out


class GlobalEncoder(nn.Module):
    """Vision tokens of a page read together, with a class token in front."""

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.width))
        self.position_embedding = nn.Parameter(torch.zeros(1 + config.page_tiles, config.width))
        self.pre_layernorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(compact_block(config) for _ in range(config.global_depth))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (P, T, E), mask (P, T) true on content, to (P, T, E)."""
        pages, length, _ = tokens.shape
        first = self.class_embedding.expand(pages, 1, -1).to(tokens.dtype)
        x = torch.cat([first, tokens], dim=1)
        x = self.pre_layernorm(x + self.position_embedding[: 1 + length])
        mask = F.pad(mask, (1, 0), value=True)
        for block in self.blocks:
            x = block(x, mask)
        return x[:, 1:]


class Stages(NamedTuple):
    """What the stages of the encoder make of a batch of N tiles.

    Attributes
    ----------
    lines : Tensor of shape (N, 4, E)
        Line tokens as the stem reads them.
    attended : Tensor of shape (N, 4, E)
        Line tokens after the first attention.
    inked : Tensor of shape (N, 4), bool
        Which lines show something.
    compressed : Tensor of shape (N, E)
        Vision tokens as they leave the compressor.
    tokens : Tensor of shape (N, E)
        Vision tokens after global attention and projector.
    """

    lines: Tensor
    attended: Tensor
    inked: Tensor
    compressed: Tensor
    tokens: Tensor


class CompactEncoder(BaseEncoder):
    """Tiles of pages to vision tokens and one embedding a page."""

    config: DeepEncoderConfig

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__(config)
        self.local = LocalEncoder(config)
        self.globe = GlobalEncoder(config)
        self.projector = nn.Linear(2 * config.width, config.width)

    def forward(self, lines: Tensor, line_of_tile: Tensor, tiles_of_page: Tensor) -> Tensor:
        """Vision tokens of a batch of pages, page after page.

        Parameters
        ----------
        lines : Tensor of shape (U, 16, 64), uint8
            Grey levels of the distinct lines.
        line_of_tile : Tensor of shape (N, 4), int64
            Which line stands where.
        tiles_of_page : Tensor of shape (P,), int64
            Tiles of each page; they sum to N.

        Returns
        -------
        Tensor of shape (N, E)
        """
        return self.stages(lines, line_of_tile, tiles_of_page).tokens

    def stages(
        self,
        lines: Tensor,
        line_of_tile: Tensor,
        tiles_of_page: Tensor,
        cache: WindowCache | None = None,
    ) -> Stages:
        """Like `forward`, with what comes before the vision tokens.

        The cache holds what was read in earlier batches, by the same weights and in the
        same precision.
        """
        config = self.config
        lines = F.pad(lines, (0, 0, 0, 0, 0, 1), value=_PAPER)
        pixels = (lines.float() / _PAPER - config.pixel_mean) / config.pixel_std
        inked = (lines < _PAPER).flatten(1).any(1)[line_of_tile]  # (N, 4)
        distinct, places = windows(lines, line_of_tile, tiles_of_page)
        read = partial(self.local.line_stem, pixels)
        tokens = cache.tokens(lines, distinct, read) if cache is not None else read(distinct)
        tokens = tokens[places]  # (N, 4, E)

        attended = self.local.attend(tokens, inked, tiles_of_page)
        local = self.local.compress(attended, inked)  # (N, E)
        mask = tile_mask(tiles_of_page)
        padded = local.new_zeros(*mask.shape, config.width)
        padded[mask] = local
        read = self.globe(padded, mask)[mask]  # (N, E)
        return Stages(tokens, attended, inked, local, self.project(read, local))

    @staticmethod
    def pool(tokens: Tensor, weights: Tensor, tiles_of_page: Tensor) -> Tensor:
        """Mean of each page's tokens, weighted by their inked lines: (N, E) to (P, E)."""
        pages = torch.repeat_interleave(tiles_of_page)
        sums = tokens.new_zeros(len(tiles_of_page), tokens.shape[1], dtype=torch.float32)
        sums.index_add_(0, pages, tokens.float() * weights[:, None])
        total = sums.new_zeros(len(tiles_of_page)).index_add_(0, pages, weights.float())
        return sums / total.clamp_min(1e-12)[:, None]
