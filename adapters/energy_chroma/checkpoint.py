"""What an embedding function can tell about its encoder without loading it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open

from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.typeset import TYPESETTER_VERSION

COMPACT = "compact"


def path_of(model: str) -> Path:
    """File of a model: the bundled one, a safetensors file, or the one in a folder."""
    if model == COMPACT:
        return Path(str(resources.files("energy_plugin.optical") / "assets/compact.safetensors"))
    path = Path(model)
    return path / "model.safetensors" if path.is_dir() else path


def check_head(model: str) -> None:
    """Refuse a model whose file is missing or whose head is not that of an encoder.

    Reads a few kilobytes and needs no torch. A file that was cut off is noticed too, since the
    head says how long the file is.

    Raises
    ------
    CheckpointError
        No such file, no safetensors file, no configuration, or another typesetter.
    """
    path = path_of(model)
    if not path.is_file():
        raise CheckpointError(
            f"There is no encoder {model!r}: expected {COMPACT!r}, a safetensors file written by "
            "energy-plugin, or a folder with a model.safetensors."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        DeepEncoderConfig.from_dict(json.loads(metadata["config"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no encoder that energy-plugin wrote ({error!r}). Name another file, or "
            f"{COMPACT!r} for the bundled encoder."
        ) from error
    typesetter = metadata.get("typesetter_version")
    if typesetter != str(TYPESETTER_VERSION):
        raise CheckpointError(
            f"{path} was trained on typesetter version {typesetter}, this release typesets "
            f"version {TYPESETTER_VERSION}. Train it again, or use the release that wrote it."
        )


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or that this machine lacks.

    Raises
    ------
    InvalidInputError
        See above.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidInputError(
            f"device {device!r} is not at hand ({error}). Leave it out for the best one there is."
        ) from error
