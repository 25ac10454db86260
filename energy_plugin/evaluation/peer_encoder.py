"""transformers' implementation of the full encoder, and seeded weights for both.

`unlimited_ocr` of transformers 5.20 and later is the same encoder. It serves as reference
in tests and as peer in measurements of speed; the product does not need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from energy_plugin._lazy import optional
from energy_plugin.errors import CheckpointError
from energy_plugin.optical import DeepEncoder, DeepEncoderConfig
from energy_plugin.optical.decoder import vision_config
from energy_plugin.optical.weights import files as weights


def seeded_weights(config: Any = None, seed: int = 0) -> dict[str, Tensor]:
    """Weights by published key, of a spread that keeps every part of the network alive.

    Parameters
    ----------
    config : FullConfig, optional
        The published sizes unless given.
    seed : int, default=0
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = DeepEncoder(config or DeepEncoderConfig.full())
    drawn = {}
    for key, value in model.state_dict().items():
        made = torch.randn(value.shape, generator=generator)
        if "pos" in key or key.endswith(("embedding", "newline", "seperator")):
            drawn[key] = made * 0.3
        elif value.ndim > 1:
            drawn[key] = made / value.shape[1:].numel() ** 0.5
        else:
            drawn[key] = key.endswith("weight") + made * 0.1
    return drawn


def published_file(folder: Path, tensors: dict[str, Tensor]) -> Path:
    """A file with the published names in a folder."""
    path = folder / "model.safetensors"
    weights.export(tensors, path)
    return path


def peer(folder: Path, config: Any, dtype: torch.dtype = torch.float32) -> Any:
    """`UnlimitedOcrModel` with the weights of a folder and a language model of no account.

    Raises
    ------
    OptionalDependencyError
        transformers is not installed, or too old to know the encoder.
    CheckpointError
        It did not take all the weights.
    """
    found = optional("transformers")
    if not hasattr(found, "UnlimitedOcrModel"):
        raise CheckpointError(f"transformers {found.__version__} has no unlimited_ocr; 5.20 has")
    full = found.UnlimitedOcrConfig(
        vision_config=vision_config(config),
        text_config={
            "vocab_size": 8,
            "hidden_size": config.projector,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 10,
            "num_key_value_heads": 10,
            "n_routed_experts": 2,
            "moe_intermediate_size": 8,
            "first_k_dense_replace": 1,
        },
    )
    level = found.logging.get_verbosity()
    found.logging.set_verbosity_error()
    try:
        model, report = found.UnlimitedOcrModel.from_pretrained(
            folder, config=full, dtype=dtype, output_loading_info=True
        )
    finally:
        found.logging.set_verbosity(level)
    missing = [key for key in report["missing_keys"] if not key.startswith("language_model.")]
    if missing:
        raise CheckpointError(f"transformers did not find {missing}")
    return model.eval()
