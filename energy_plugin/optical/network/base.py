"""What both sizes of the DeepEncoder share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from energy_plugin.optical.config import DeepEncoderConfig, FullConfig


class BaseEncoder(nn.Module):
    """Page pixels to vision tokens: an encoder of one size, with its projector.

    Parameters
    ----------
    config : DeepEncoderConfig or FullConfig
    """

    projector: nn.Linear

    def __init__(self, config: DeepEncoderConfig | FullConfig) -> None:
        super().__init__()
        self.config: Any = config

    def project(self, globally: Tensor, locally: Tensor) -> Tensor:
        """Tokens read across the page and inside windows, side by side, to one width."""
        out: Tensor = self.projector(torch.cat([globally, locally], dim=-1))
        return out
