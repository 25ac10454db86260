"""Window attention and the 16× compressor of the published encoder (SAM's ViT-B).

Shapes: B pages, H = W patches along a side, C channels, h heads of 64 channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.config import SAM_EPS, FullConfig
from energy_plugin.optical.network.layers import HEAD_WIDTH, PATCH, Attention, Block


def resized_grid(table: Tensor, side: int) -> Tensor:
    """Position table (1, G, G, C) for another side, (1, side, side, C).

    Bicubic with antialiasing in float32, as published: the flag also chooses the kernel
    (a = −0.5), so it matters when the table grows, too.
    """
    if table.shape[1] == side:
        return table
    resized = F.interpolate(
        table.permute(0, 3, 1, 2).float(),
        size=(side, side),
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )
    return resized.permute(0, 2, 3, 1).to(table.dtype)


def resized_distances(table: Tensor, side: int) -> Tensor:
    """Relative-position table (L, 64) for another side, (2·side − 1, 64); linear, in float32."""
    length = 2 * side - 1
    if len(table) == length:
        return table
    resized = F.interpolate(table.T[None].float(), size=length, mode="linear")
    return resized[0].T.to(table.dtype)


class WindowAttention(Attention):
    """Attention inside windows, or across the page, with relative positions.

    The weight of a key is softmax(q·k/8 + q·r_h + q·r_w), r by the distance in rows and
    in columns (Li et al., "MViTv2", 2022, decomposed relative positions).

    Windows that reach beyond the page are filled with zeros before the projection to
    q, k, v, as published: their keys and values are the projection's bias and do count.

    Parameters
    ----------
    width : int
    side : int
        Side of a window in patches, or of the page that the tables are made for.
    windowed : bool
    """

    def __init__(self, width: int, side: int, *, windowed: bool) -> None:
        super().__init__(width, width // HEAD_WIDTH)
        self.window = side if windowed else 0
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, HEAD_WIDTH))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, HEAD_WIDTH))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """X (B, H, W, C) to the same shape; there is no mask."""
        batch, height, width, channels = x.shape
        qkv = self.qkv_proj(x)  # (B, H, W, 3C)
        if not self.window:
            mixed = self._attend(qkv, height)
        else:
            # Projected first: the projection of the filling is the bias, known without it.
            across = -(-height // self.window)
            side = self.window
            windows = qkv.new_empty(batch, across, across, side, side, 3 * channels)
            if height % side:
                windows[:, -1] = windows[:, :, -1] = self.qkv_proj.bias.to(qkv.dtype)
            for inside, on_page in _parts(height, side):
                windows.permute(0, 1, 3, 2, 4, 5)[inside] = on_page(qkv)
            read = self._attend(windows.view(-1, side, side, 3 * channels), side)
            read = read.view(batch, across, across, side, side, channels)
            mixed = x.new_empty(batch, height, width, channels)
            for inside, on_page in _parts(height, side):
                on_page(mixed).copy_(read.permute(0, 1, 3, 2, 4, 5)[inside])
        return self.out_proj(mixed)

    def _attend(self, qkv: Tensor, side: int) -> Tensor:
        """Windows (n, side, side, 3C) of queries, keys and values to (n, side, side, C)."""
        count, length = len(qkv), side * side
        parts = qkv.view(count, length, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()  # each (n, h, side², 64), not contiguous
        bias = self._distances(query.contiguous(), side)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(count, side, side, -1)

    def _distances(self, query: Tensor, side: int) -> Tensor:
        """Products of queries (n, h, side², 64) with all distances, (n, h, side², side²).

        A query in row r needs distances r − k for k = 0 … side − 1. With the table turned
        round these are neighbours and start one place earlier for every row: a view.
        """
        tables = (self.rel_pos_h, self.rel_pos_w)
        turned = [resized_distances(table, side).flip(0).to(query.dtype) for table in tables]
        products = query @ torch.cat(turned).T  # (n, h, side², 2·(2·side − 1))
        count, heads, length, width = products.shape
        shape = (count, heads, side, side, side)
        head, row = length * width, side * width
        stride = (heads * head, head, row - 1, width, 1)
        by_row = products.as_strided(shape, stride, side - 1)
        stride = (heads * head, head, row, width - 1, 1)
        by_column = products.as_strided(shape, stride, 3 * side - 2)
        both = by_row[..., :, None] + by_column[..., None, :]
        return both.reshape(count, heads, length, length)


_Part = tuple[tuple[Any, ...], Callable[[Tensor], Tensor]]


def _parts(height: int, side: int) -> Iterator[_Part]:
    """Corresponding parts of windows (B, a, side, a, side, C) and a page (B, H, H, C).

    The windows that lie wholly on the page, those across its right and lower edge, and
    the corner.
    """
    full, rest = divmod(height, side)
    spans = [(slice(0, full), full, side)] if full else []
    if rest:
        spans.append((slice(full, full + 1), 1, rest))
    for (rows, n_rows, high), (columns, n_columns, wide) in product(spans, spans):

        def on_page(
            page: Tensor,
            top: int = rows.start * side,
            left: int = columns.start * side,
            shape: tuple[int, int, int, int] = (n_rows, high, n_columns, wide),
        ) -> Tensor:
            n, h, m, w = shape
            part = page[:, top : top + n * h, left : left + m * w]
            return part.unflatten(1, (n, h)).unflatten(3, (m, w))

        yield (slice(None), rows, slice(0, high), columns, slice(0, wide)), on_page


class PatchEmbed(nn.Module):
    """Pixels to patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) to (B, S/16, S/16, C)."""
        return self.proj(pixels).permute(0, 2, 3, 1)


class SamEncoder(nn.Module):
    """Pixels to one token per 64×64 px."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        width, grid = config.sam_width, config.sam_grid
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList()
        for place in range(config.sam_depth):
            windowed = place not in config.global_blocks
            attention = WindowAttention(
                width, config.window if windowed else grid, windowed=windowed
            )
            self.blocks.append(
                Block(attention, width, config.sam_mlp, eps=SAM_EPS, norm_first=True)
            )
        neck, (first, second) = config.neck, config.compressor
        self.neck = nn.ModuleList(
            [
                nn.Conv2d(width, neck, 1, bias=False),
                nn.LayerNorm(neck, eps=SAM_EPS),
                nn.Conv2d(neck, neck, 3, padding=1, bias=False),
                nn.LayerNorm(neck, eps=SAM_EPS),
            ]
        )
        self.net_2 = nn.Conv2d(neck, first, 3, stride=2, padding=1, bias=False)
        self.net_3 = nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) to (B, (S/64)², C'), row by row."""
        x = self.patch_embed(pixels)  # (B, H, W, C)
        x = (x + resized_grid(self.pos_embed, x.shape[1])).contiguous()
        for block in self.blocks:
            x = block(x)
        # Channels stay last in memory; a convolution sees them first, a LayerNorm last.
        for layer in self.neck:
            convolves = isinstance(layer, nn.Conv2d)
            x = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if convolves else layer(x)
        maps: Tensor = self.net_3(self.net_2(x.permute(0, 3, 1, 2)))  # (B, C', S/64, S/64)
        return maps.flatten(2).transpose(1, 2)
