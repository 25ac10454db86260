"""The compact DeepEncoder: distinct lines of pages to vision tokens.

The stages are the published ones: attention inside small windows, a 16× compressor that
leaves one token per 64×64 px tile, attention over all tokens of a page, a projector that
reads both. What differs: the first 4× of the compressor comes before window attention
(`LineStem`), a window is a tile, tokens of blank lines are left out, and LayerNorm
stands after each sum, because the blocks start as the layers of a text model.

Shapes: N tiles of all pages of a batch, U distinct lines among them, P pages,
T tokens of the longest page, E width.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.deepencoder import DeepEncoder
from energy_plugin.optical.layers import PATCH, Attention, Block
from energy_plugin.optical.typeset import TILE_LINES, TILE_SIDE

LINE_PATCHES = TILE_SIDE // PATCH


def compact_block(config: DeepEncoderConfig) -> Block:
    """A block of the compact encoder."""
    return Block(
        Attention(config.width, config.heads), config.width, config.mlp, eps=config.layer_norm_eps
    )


class LineStem(nn.Module):
    """Pixels of a text line to one line token: patch embedding and the 4× compressor.

    Both convolutions have stride equal to kernel, so they are matrix products
    over the pixels of a patch and the patches of a line.
    """

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(PATCH * PATCH, config.patch_dim)
        sizes = [LINE_PATCHES * config.patch_dim, *config.line_hidden, config.width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, lines: Tensor) -> Tensor:
        """Lines (U, 16, 64) of normalised pixels to (U, E)."""
        patches = lines.unflatten(2, (LINE_PATCHES, PATCH)).transpose(1, 2)  # (U, 4, 16, 16)
        x: Tensor = self.patch_embed(patches.flatten(2)).flatten(1)  # (U, 4 * patch_dim)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class LocalEncoder(nn.Module):
    """Lines to one vision token per tile, attention inside the tile only."""

    def __init__(self, config: DeepEncoderConfig) -> None:
        super().__init__()
        self.line_stem = LineStem(config)
        self.pos_embed = nn.Parameter(torch.zeros(TILE_LINES, config.width))
        self.pre_layernorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(compact_block(config) for _ in range(config.local_depth))
        self.compressor = nn.Linear(TILE_LINES * config.width, config.width, bias=False)

    def forward(self, lines: Tensor, line_of_tile: Tensor, inked: Tensor) -> Tensor:
        """Distinct lines (U, 16, 64), their places (N, 4), ink mask (N, 4) to (N, E)."""
        tokens = self.line_stem(lines)[line_of_tile]  # (N, 4, E)
        tokens = self.pre_layernorm(tokens + self.pos_embed)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = tokens * inked[..., None]
        out: Tensor = self.compressor(tokens.flatten(1))
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


class CompactEncoder(DeepEncoder):
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
        config = self.config
        pixels = (lines.float() / 255 - config.pixel_mean) / config.pixel_std
        inked = (lines < 255).flatten(1).any(1)[line_of_tile]  # (N, 4)
        local = self.local(pixels, line_of_tile, inked)  # (N, E)

        longest = int(tiles_of_page.max())
        mask = torch.arange(longest, device=lines.device) < tiles_of_page[:, None]  # (P, T)
        padded = local.new_zeros(*mask.shape, config.width)
        padded[mask] = local
        read = self.globe(padded, mask)[mask]  # (N, E)
        return self.project(read, local)

    @staticmethod
    def pool(tokens: Tensor, weights: Tensor, tiles_of_page: Tensor) -> Tensor:
        """Mean of each page's tokens, weighted by their inked lines: (N, E) to (P, E)."""
        pages = torch.repeat_interleave(tiles_of_page)
        sums = tokens.new_zeros(len(tiles_of_page), tokens.shape[1], dtype=torch.float32)
        sums.index_add_(0, pages, tokens.float() * weights[:, None])
        total = sums.new_zeros(len(tiles_of_page)).index_add_(0, pages, weights.float())
        return sums / total.clamp_min(1e-12)[:, None]
