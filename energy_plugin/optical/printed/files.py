"""Weights of a recogniser in a safetensors file, in half precision."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.printed.alphabet import CHARACTERS
from energy_plugin.optical.printed.recogniser import Recogniser, RecogniserConfig

NAME = "print.safetensors"
FORMAT_VERSION = 1


def save(model: Recogniser, path: Path) -> None:
    """Write a folded recogniser; the file appears whole or not at all."""
    part = path.with_suffix(".part")
    metadata = {"config": json.dumps(model.config.to_dict()), "format_version": str(FORMAT_VERSION)}
    tensors = {
        key: value.detach().cpu().contiguous().half() for key, value in model.state_dict().items()
    }
    save_file(tensors, part, metadata=metadata)
    os.replace(part, path)


def load(path: Path) -> Recogniser:
    """Read a recogniser, ready to read, in single precision.

    Raises
    ------
    CheckpointError
        The file is none of ours, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if int(metadata["format_version"]) != FORMAT_VERSION:
                raise ValueError(f"format version {metadata['format_version']}")
            if json.loads(metadata["config"])["characters"] != CHARACTERS:
                raise ValueError("it knows other characters")
            with torch.device("meta"):  # so that nobody's random numbers are drawn from
                model = Recogniser(RecogniserConfig.from_dict(json.loads(metadata["config"])))
            model = model.float().to_empty(device="cpu")
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(tensors)
    except (
        *(OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError),
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path} has no recogniser of print that this release reads: {error!r}. Install the "
            "package again, or train one"
        ) from error
    return model.eval()


def fingerprint() -> str:
    """Provenance of what the bundled recogniser reads: 16 hexadecimal digits."""
    return hashlib.blake2b(
        (resources.files("energy_plugin.optical") / "assets" / NAME).read_bytes(), digest_size=8
    ).hexdigest()
