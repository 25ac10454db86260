"""Encoder weights as safetensors files, with their configuration inside."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.deepencoder import DeepEncoder
from energy_plugin.optical.typeset import TYPESETTER_VERSION


def save(model: DeepEncoder, path: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a model so that `load` needs nothing else. The file appears whole or not at all."""
    weights = {
        name: value.detach().to(dtype).contiguous() for name, value in model.state_dict().items()
    }
    metadata = {
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "typesetter_version": str(TYPESETTER_VERSION),
    }
    part = path.with_suffix(".part")
    save_file(weights, part, metadata=metadata)
    os.replace(part, path)


def load(path: Path) -> DeepEncoder:
    """Read a model in float32, in evaluation mode.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, made for another typesetter, or its tensors are
        not those of its configuration; every missing or misshapen key is named.
    """
    if not path.is_file():
        raise CheckpointError(f"no encoder weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    if "config" not in metadata:
        raise CheckpointError(
            f"{path} has no encoder configuration; expected a file that energy-plugin wrote"
        )
    if metadata.get("typesetter_version") != str(TYPESETTER_VERSION):
        raise CheckpointError(
            f"{path} was trained on typesetter version {metadata.get('typesetter_version')}, "
            f"this release typesets version {TYPESETTER_VERSION}; train again or use the "
            "release that wrote it"
        )
    with torch.device("meta"):
        model = DeepEncoder(DeepEncoderConfig.from_dict(json.loads(metadata["config"])))
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != got:
        wrong = [
            f"{name}: got {got.get(name, 'nothing')}, expected {wanted.get(name, 'no such tensor')}"
            for name in sorted(wanted.keys() | got.keys())
            if wanted.get(name) != got.get(name)
        ]
        raise CheckpointError(f"{path} does not fit its configuration:\n  " + "\n  ".join(wrong))
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval()


def fingerprint(path: Path) -> str:
    """Provenance of the vectors that a checkpoint makes: 16 hexadecimal digits.

    Covers weights, configuration and typesetter version.
    """
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
