"""DeepEncoder: page pixels to vision tokens, in two sizes.

After DeepSeek-OCR ("Contexts Optical Compression", 2025): attention inside small
windows reads the glyphs, a 16× convolutional compressor leaves one token per 64×64 px
of the page, attention over all tokens reads the page, and a projector maps both to one
width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from energy_plugin.optical.config import DeepEncoderConfig, FullConfig

if TYPE_CHECKING:
    from energy_plugin.optical.network.full import FullEncoder


class DeepEncoder(nn.Module):
    """An encoder of the size that its configuration says.

    ``DeepEncoder(DeepEncoderConfig.full())`` is a `FullEncoder`, the published network;
    ``DeepEncoder(DeepEncoderConfig.compact())`` a `CompactEncoder`.

    Parameters
    ----------
    config : DeepEncoderConfig or FullConfig
    """

    projector: nn.Linear

    def __new__(cls, config: Any = None, *args: Any, **kwargs: Any) -> DeepEncoder:
        """Choose the class by the configuration."""
        if cls is DeepEncoder:
            from energy_plugin.optical.network.compact import CompactEncoder
            from energy_plugin.optical.network.full import FullEncoder

            chosen = FullEncoder if isinstance(config, FullConfig) else CompactEncoder
            return super().__new__(chosen)
        return super().__new__(cls)

    def __init__(self, config: DeepEncoderConfig | FullConfig) -> None:
        super().__init__()
        self.config: Any = config

    def project(self, globally: Tensor, locally: Tensor) -> Tensor:
        """Tokens read across the page and inside windows, side by side, to one width."""
        out: Tensor = self.projector(torch.cat([globally, locally], dim=-1))
        return out

    @staticmethod
    def from_state_dict(
        state_dict: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
    ) -> FullEncoder:
        """The full encoder from published weights.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            Published key names, with or without ``model.`` in front. Widths and depths
            are those of the tensors, a head is 64 channels wide. Keys of other parts of
            the published model are ignored.
        dtype : torch.dtype, default=torch.float32
            Of the encoder's parameters.

        Returns
        -------
        FullEncoder
            In evaluation mode, without gradients.

        Raises
        ------
        CheckpointError
            A tensor is missing, misshapen, not floating point or not finite; all such
            are named.
        """
        from energy_plugin.optical.weights.published import encoder_of

        return encoder_of(state_dict, dtype=dtype)
