from __future__ import annotations

from pathlib import Path

import pytest
import torch

from energy_plugin.optical import DeepEncoderConfig, OpticalEncoder
from energy_plugin.optical.network.deepencoder import DeepEncoder
from energy_plugin.optical.weights import checkpoint

SMALL = DeepEncoderConfig(
    patch_dim=16,
    line_hidden=(32, 16),
    glossary=40,
    width=24,
    heads=3,
    mlp=32,
    local_depth=1,
    global_depth=1,
    page_tiles=4,
)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow encoder with seeded weights, pages of four tiles."""
    torch.manual_seed(7)
    model = DeepEncoder(SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    checkpoint.save(model, path, dtype=torch.float32)
    return path


@pytest.fixture(scope="session")
def small_encoder(small_checkpoint: Path) -> OpticalEncoder:
    return OpticalEncoder.from_pretrained(small_checkpoint, device="cpu")
