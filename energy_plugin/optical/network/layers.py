"""Layers that both sizes of the DeepEncoder are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16  # px of a patch
HEAD_WIDTH = 64  # channels of a head in the published networks


def quick_gelu(x: Tensor) -> Tensor:
    """Activation of CLIP: x · σ(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention over the last but one axis."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """X (B, T, E), mask (B, T) true where a token may be attended to."""
        batch, length, width = x.shape
        qkv = self.qkv_proj(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, E / heads)
        keys = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Transformer block.

    Parameters
    ----------
    attention : Attention
    width, hidden : int
        Channels of the tokens, and between the two layers of the MLP.
    eps : float
        Epsilon of both LayerNorms.
    norm_first : bool, default=False
        LayerNorm before attention and MLP (the published networks), or after each
        residual sum (the compact encoder, whose blocks start as those of its teacher).
    activation : callable, default=gelu
    """

    def __init__(
        self,
        attention: nn.Module,
        width: int,
        hidden: int,
        *,
        eps: float,
        norm_first: bool = False,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.self_attn = attention
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        self.norm_first = norm_first
        self.activation = activation

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """X (B, T, E), or whatever the attention takes, to the same shape."""
        if self.norm_first:
            x = x + self.self_attn(self.layer_norm1(x), mask)
            return x + self.fc2(self.activation(self.fc1(self.layer_norm2(x))))
        x = self.layer_norm1(x + self.self_attn(x, mask))
        return self.layer_norm2(x + self.fc2(self.activation(self.fc1(x))))
