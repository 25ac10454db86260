"""The published DeepEncoder: pixels of square pages to vision tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.config import FullConfig
from energy_plugin.optical.modes import TOKEN_PX
from energy_plugin.optical.network.base import BaseEncoder
from energy_plugin.optical.network.clip import ClipEncoder
from energy_plugin.optical.network.sam import SamEncoder
from energy_plugin.optical.weights.names import rename_for_us, rename_published


class FullEncoder(BaseEncoder):
    """SAM-base window attention, 16× compressor, CLIP-L global attention, projector.

    `state_dict` gives, and `load_state_dict` takes, the published key names.
    """

    config: FullConfig

    def __init__(self, config: FullConfig) -> None:
        super().__init__(config)
        self.sam_model = SamEncoder(config)
        self.vision_model = ClipEncoder(config)
        self.projector = nn.Linear(config.width + config.compressor[1], config.projector)
        self.image_newline = nn.Parameter(torch.zeros(config.projector))
        self.view_seperator = nn.Parameter(torch.zeros(config.projector))  # published spelling
        self._register_state_dict_hook(rename_published)
        self._register_load_state_dict_pre_hook(rename_for_us)

    def forward(self, pixels: Tensor) -> Tensor:
        """Vision tokens of square pages.

        Parameters
        ----------
        pixels : Tensor of shape (B, 3, S, S)
            In [−1, 1]: grey level / 127.5 − 1. S is a multiple of 64.

        Returns
        -------
        Tensor of shape (B, (S/64)², projector width)
            Row by row.

        Raises
        ------
        InvalidInputError
            Another shape.
        """
        shape = tuple(pixels.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
            raise InvalidInputError(f"pixels have shape {shape}, expected (B, 3, S, S)")
        if shape[2] < TOKEN_PX or shape[2] % TOKEN_PX:
            raise InvalidInputError(
                f"pixels have a side of {shape[2]}, expected a multiple of {TOKEN_PX}"
            )
        local = self.sam_model(pixels.to(self.projector.weight.dtype))  # (B, N, C)
        return self.project(self.vision_model(local), local)

    def arrange(
        self,
        tokens: Tensor,
        tiles: Tensor | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Tensor:
        """The sequence that the published decoder gets.

        Parameters
        ----------
        tokens : Tensor of shape (B, g², E)
            Of the pages, or of the global views.
        tiles : Tensor of shape (B, columns · rows, m², E), optional
            Of each page's tiles, row by row.
        grid : (int, int), optional
            Columns and rows of tiles.

        Returns
        -------
        Tensor of shape (B, T, E)
            Rows of the joined tiles, rows of the page, each followed by the newline
            token, and one separator at the end.
        """
        parts = [self._rows(tokens, 1, 1)]
        if tiles is not None:
            if tiles.ndim != 4 or grid is None or tiles.shape[1] != grid[0] * grid[1]:
                raise InvalidInputError(
                    f"tiles have shape {tuple(tiles.shape)} and grid is {grid}, expected "
                    "(B, columns · rows, m², E) and (columns, rows)"
                )
            parts.insert(0, self._rows(tiles.flatten(0, 1), *grid))
        separator = self.view_seperator.to(tokens).expand(len(tokens), 1, -1)
        return torch.cat([*parts, separator], dim=1)

    def _rows(self, tokens: Tensor, columns: int, rows: int) -> Tensor:
        """Tokens (B · rows · columns, m², E) as one map, newline after each of its rows."""
        side = math.isqrt(tokens.shape[1]) if tokens.ndim == 3 else 0
        if not side or side * side != tokens.shape[1]:
            raise InvalidInputError(
                f"tokens have shape {tuple(tokens.shape)}, expected (B, g², E) of a square grid"
            )
        width = tokens.shape[2]
        maps = tokens.reshape(-1, rows, columns, side, side, width).transpose(2, 3)
        lines = maps.reshape(-1, rows * side, columns * side, width)
        newline = self.image_newline.to(tokens).expand(len(lines), rows * side, 1, -1)
        return torch.cat([lines, newline], dim=2).flatten(1, 2)
