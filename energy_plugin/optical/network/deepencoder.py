"""DeepEncoder: the encoder of the size that a configuration or published weights say.

After DeepSeek-OCR ("Contexts Optical Compression", 2025): attention inside small
windows reads the glyphs, a 16× convolutional compressor leaves one token per 64×64 px
of the page, attention over all tokens reads the page, and a projector maps both to one
width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from energy_plugin.optical.config import DeepEncoderConfig, FullConfig
from energy_plugin.optical.network.base import BaseEncoder
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.network.full import FullEncoder
from energy_plugin.optical.weights.published import encoder_of


class DeepEncoder:
    """Makes encoders; an instance is never of this class.

    ``DeepEncoder(DeepEncoderConfig.full())`` is a `FullEncoder`, the published network;
    ``DeepEncoder(DeepEncoderConfig.compact())`` a `CompactEncoder`.

    Parameters
    ----------
    config : DeepEncoderConfig or FullConfig
    """

    def __new__(cls, config: DeepEncoderConfig | FullConfig) -> BaseEncoder:  # type: ignore[misc]
        """Choose the class by the configuration."""
        if isinstance(config, FullConfig):
            return FullEncoder(config)
        return CompactEncoder(config)

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
        return encoder_of(state_dict, dtype=dtype)
