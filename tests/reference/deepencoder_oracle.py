"""The same encoder as `transformers` implements it, and seeded weights for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from energy_plugin.optical.config import FullConfig
from energy_plugin.optical.full import FullEncoder

NARROW = FullConfig(
    sam_width=128,
    sam_mlp=192,
    sam_depth=4,
    global_blocks=(1, 3),
    neck=32,
    compressor=(64, 192),
    width=192,
    mlp=256,
    depth=3,
    projector=80,
)


def seeded_weights(config: FullConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights by published key, of a spread that keeps every part of the network alive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in FullEncoder(config).state_dict().items()}
    weights = {}
    for key, shape in shapes.items():
        drawn = torch.randn(shape, generator=generator)
        is_table = "pos" in key or key.endswith(("embedding", "newline", "seperator"))
        if is_table:
            weights[key] = drawn * 0.3
        elif len(shape) > 1:
            weights[key] = drawn / shape[1:].numel() ** 0.5
        else:
            norm = key.endswith("weight")
            weights[key] = norm + drawn * 0.1
    return weights


def published_file(folder: Path, weights: dict[str, Tensor], *, prefix: str = "model.") -> Path:
    """A file with the published names."""
    path = folder / "model.safetensors"
    tensors = {prefix + key: value.contiguous() for key, value in weights.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def oracle(folder: Path, config: FullConfig, dtype: torch.dtype = torch.float32) -> Any:
    """`UnlimitedOcrModel` with the weights of a folder and a language model of no account."""
    from transformers import UnlimitedOcrConfig, UnlimitedOcrModel

    full = UnlimitedOcrConfig(
        vision_config={
            "sam_config": {
                "hidden_size": config.sam_width,
                "num_hidden_layers": config.sam_depth,
                "num_attention_heads": config.sam_width // 64,
                "mlp_dim": config.sam_mlp,
                "output_channels": config.neck,
                "global_attn_indexes": list(config.global_blocks),
                "downsample_channels": list(config.compressor),
            },
            "encoder_config": {
                "hidden_size": config.width,
                "intermediate_size": config.mlp,
                "num_hidden_layers": config.depth,
                "num_attention_heads": config.width // 64,
            },
        },
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
    model, report = UnlimitedOcrModel.from_pretrained(
        folder, config=full, dtype=dtype, output_loading_info=True
    )
    missing = [key for key in report["missing_keys"] if not key.startswith("language_model.")]
    assert not missing, missing
    return model.eval()


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Relative L2."""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())
