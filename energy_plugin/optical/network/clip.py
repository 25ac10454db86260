"""Global attention of the published encoder (CLIP's ViT-L, without its patches)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from energy_plugin.optical.config import CLIP_EPS, FullConfig
from energy_plugin.optical.network.layers import HEAD_WIDTH, Attention, Block, quick_gelu
from energy_plugin.optical.network.sam import resized_grid

CLIP_PATCH = 14


class ClipEmbeddings(nn.Module):
    """Class token and positions.

    `patch_embedding` is part of the published weights and is used by nothing: the tokens
    of the window part take its place. It is kept so that a file goes through unchanged.
    """

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        width = config.width
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, CLIP_PATCH, CLIP_PATCH, bias=False)
        self.position_embedding = nn.Embedding(1 + config.grid**2, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, g², E) to (B, 1 + g², E)."""
        batch, count, width = tokens.shape
        table = self.position_embedding.weight
        side, grid = math.isqrt(count), math.isqrt(len(table) - 1)
        places = resized_grid(table[1:].view(1, grid, grid, width), side)
        positions = torch.cat([table[:1], places.reshape(-1, width)])
        first = self.class_embedding.expand(batch, 1, -1)
        return torch.cat([first, tokens], dim=1) + positions


class ClipLayers(nn.Module):
    """The blocks, under their published name."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.ModuleList(
            Block(
                Attention(width, width // HEAD_WIDTH),
                width,
                config.mlp,
                eps=CLIP_EPS,
                norm_first=True,
                activation=quick_gelu,
            )
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """X (B, T, E) to the same shape; no LayerNorm follows."""
        for layer in self.layers:
            x = layer(x)
        return x


class ClipEncoder(nn.Module):
    """Vision tokens of a page read together."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        self.embeddings = ClipEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.width, eps=CLIP_EPS)  # published spelling
        self.transformer = ClipLayers(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, g², E) to the same shape; the class token is dropped."""
        out: Tensor = self.transformer(self.pre_layrnorm(self.embeddings(tokens)))
        return out[:, 1:]
