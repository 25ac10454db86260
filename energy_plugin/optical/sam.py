"""Window attention and the 16× compressor of the published encoder (SAM's ViT-B).

Shapes: B pages, H = W patches along a side, C channels, h heads of 64 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from energy_plugin.optical.config import SAM_EPS, FullConfig
from energy_plugin.optical.layers import HEAD_WIDTH, PATCH, Attention, Block


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


def relative(table: Tensor, side: int) -> Tensor:
    """Relative-position table (L, 64) to (side, side, 64) by query and key place.

    Tables for another side are interpolated linearly, in float32.
    """
    length = 2 * side - 1
    if len(table) != length:
        resized = F.interpolate(table.T[None].float(), size=length, mode="linear")
        table = resized[0].T.to(table.dtype)
    place = torch.arange(side, device=table.device)
    return table[place[:, None] - place[None, :] + side - 1]


class WindowAttention(Attention):
    """Attention inside windows, or across the page, with relative positions.

    The weight of a key is softmax(q·k/8 + q·r_h + q·r_w), r by the distance in rows and
    in columns (Li et al., "MViTv2", 2022, decomposed relative positions). Both extra
    products become part of q·k: a query carries its products with all rows and columns,
    a key a one in its own row and column. So no matrix of tokens × tokens is stored.

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
        side = self.window or height
        across = -(-height // side)
        padded = across * side
        if padded != height:
            # The projection of a zero is the bias: no need to project the filling.
            filled = self.qkv_proj.bias.expand(batch, padded, padded, -1).to(qkv.dtype).clone()
            filled[:, :height, :width] = qkv
            qkv = filled
        windows = qkv.view(batch, across, side, across, side, 3, self.heads, HEAD_WIDTH)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7)  # (3, B, a, a, h, side, side, 64)
        shape = (batch * across * across, self.heads, side, side, HEAD_WIDTH)
        query, key, value = (part.reshape(shape) for part in windows)
        mixed = self._attend(query, key, value)  # (B·a·a, h, side, side, 64)
        mixed = mixed.view(batch, across, across, self.heads, side, side, HEAD_WIDTH)
        mixed = mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, padded, padded, channels)
        return self.out_proj(mixed[:, :height, :width])

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        count, heads, side, _, width = query.shape
        rows = relative(self.rel_pos_h, side).to(query.dtype)
        columns = relative(self.rel_pos_w, side).to(query.dtype)
        by_row = torch.einsum("nhrcd,rkd->nhrck", query, rows)
        by_column = torch.einsum("nhrcd,ckd->nhrck", query, columns)
        bias = by_row[..., :, None] + by_column[..., None, :]
        flat = (count, heads, side * side, width)
        mixed = F.scaled_dot_product_attention(
            query.reshape(flat),
            key.reshape(flat),
            value.reshape(flat),
            attn_mask=bias.reshape(count, heads, side * side, side * side),
        )
        return mixed.view(count, heads, side, side, width)


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
