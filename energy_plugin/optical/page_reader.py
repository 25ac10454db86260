"""Pages through the compact encoder, for the length of one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_plugin.optical.network.compact import CompactEncoder, Stages
from energy_plugin.optical.network.window_cache import WindowCache
from energy_plugin.optical.typesetting.lines import PageBatch

BATCH_TILES = 2048  # a few hundred MB of activations


class CompactReader:
    """Reads pages, and no word of the call twice.

    Parameters
    ----------
    model : CompactEncoder
    device : torch.device
    dtype : torch.dtype, default=torch.float32
        Of the matrix products.
    """

    def __init__(
        self, model: CompactEncoder, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.model, self.device, self.dtype = model, device, dtype
        self.cache = WindowCache()

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.model.config.width

    def cost(self, page: NDArray[np.uint8]) -> float:
        """Share of the largest batch that a page takes."""
        return len(page) / BATCH_TILES

    def read_pooled(self, pages: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Weighted sums (P, E) of the tokens of each page, and their weights (P,)."""
        batch = PageBatch.of(pages)
        inked, counts = batch.inked_lines.to(self.device), batch.tiles_of_page.to(self.device)
        means = self.model.pool(self.stages(batch).tokens.float(), inked, counts)
        total = torch.zeros(len(counts), dtype=torch.float32, device=self.device)
        total.index_add_(0, torch.repeat_interleave(counts), inked.float())
        return means * total[:, None], total

    def read_tokens(self, pages: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, ...]:
        """Tokens (n, E) of each page, one a tile."""
        tokens = self.stages(PageBatch.of(pages)).tokens.float()
        return tokens.split([len(page) for page in pages])

    @torch.inference_mode()
    def stages(self, pages: PageBatch) -> Stages:
        """What the stages of the encoder make of a batch."""
        enabled = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=enabled):
            return self.model.stages(
                pages.lines.to(self.device),
                pages.line_of_tile.to(self.device),
                pages.tiles_of_page.to(self.device),
                self.cache,
            )
