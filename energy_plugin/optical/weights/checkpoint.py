"""Encoder weights as safetensors files, with their configuration inside."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.typesetting.tiles import TYPESETTER_VERSION

if TYPE_CHECKING:
    import torch

    from energy_plugin.optical.network.compact import CompactEncoder

COMPACT = "compact"
SCALE = "_scale"  # behind the name of a matrix in 8 bits


def save(model: CompactEncoder, path: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a model so that `load` needs nothing else.

    Matrices of products and tables are kept in 8 bits, each row with a scale, everything
    else in float16; all in `dtype` where one is given. The file appears whole or not at all.
    """
    import torch
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        if dtype is None and value.ndim == 2 and name.endswith(".weight"):
            weights[name], weights[name + SCALE] = _in_8_bits(value.detach().float())
        else:
            weights[name] = value.detach().to(dtype or torch.float16).contiguous()
    metadata = {
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "typesetter_version": str(TYPESETTER_VERSION),
    }
    part = path.with_suffix(".part")
    save_file(weights, part, metadata=metadata)
    os.replace(part, path)


def _in_8_bits(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as whole numbers from −127 to 127, and the scale of each."""
    import torch

    scale = matrix.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (matrix / scale).round().to(torch.int8), scale


def locate(path_or_name: str | Path) -> Path:
    """File of an encoder: the bundled one, a safetensors file, or the one in a folder.

    Raises
    ------
    CheckpointError
        There is no such file.
    """
    if str(path_or_name) == COMPACT:
        path = Path(str(resources.files("energy_plugin.optical") / "assets/compact.safetensors"))
    else:
        path = Path(path_or_name)
        path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            f"no encoder at {str(path_or_name)!r}: expected {COMPACT!r}, a safetensors file "
            "written by energy-plugin, or a folder with a model.safetensors"
        )
    return path


def source(
    path_or_name: str | Path,
    *,
    revision: str = "main",
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    show_progress_bar: bool = False,
) -> Path:
    """File or folder of an encoder; what is neither and looks like one is a hub repository.

    Raises
    ------
    CheckpointError
        There is none, here or there.
    """
    name = str(path_or_name)
    if name == COMPACT or Path(path_or_name).exists():
        return locate(COMPACT) if name == COMPACT else Path(path_or_name)
    from energy_plugin.optical.weights import hub

    if not hub.REPOSITORY.fullmatch(name):
        return locate(path_or_name)
    return hub.fetch(
        name,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        show_progress_bar=show_progress_bar,
    )


def check(path_or_name: str | Path) -> None:
    """Look for an encoder and at the heads of its files, without reading its weights.

    A hub repository is fetched where it is not in the cache.

    Raises
    ------
    CheckpointError
        There is no such encoder, or its files are damaged, incomplete or not an encoder's.
    """
    path = source(path_or_name)
    try:
        read_config(locate(path))  # without torch, if it is a compact encoder
    except CheckpointError:
        if is_compact(path):
            raise
        from energy_plugin.optical.weights import files

        files.check(path)


def is_compact(path: Path) -> bool:
    """Whether a file or folder is to be read as a compact encoder.

    True also of what is not an encoder at all, which `load` then refuses by name.
    """
    from energy_plugin.optical.weights.files import files_of, is_published

    return not any(is_published(file) for file in files_of(path))


def read_config(path: Path) -> DeepEncoderConfig:
    """Configuration of a checkpoint, from the file's head: a few kilobytes, no torch.

    A file that was cut off is noticed too, since the head says how long the file is.

    Raises
    ------
    CheckpointError
        The file is damaged, not an encoder's, or made for another typesetter.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        config = DeepEncoderConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not an encoder that energy-plugin wrote ({error!r}); name another file, or "
            f"{COMPACT!r} for the bundled encoder"
        ) from error
    if metadata.get("typesetter_version") != str(TYPESETTER_VERSION):
        raise CheckpointError(
            f"{path} was trained on typesetter version {metadata.get('typesetter_version')}, "
            f"this release typesets version {TYPESETTER_VERSION}; train again or use the "
            "release that wrote it"
        )
    return config


def load(path: Path) -> CompactEncoder:
    """Read a model in float32, in evaluation mode.

    Raises
    ------
    CheckpointError
        The file is damaged, made for another typesetter, or its tensors are not those
        of its configuration; every missing or misshapen key is named.
    """
    import torch

    from energy_plugin.optical.network.compact import CompactEncoder
    from energy_plugin.optical.weights.shell import without_values

    config = read_config(path)
    with without_values():
        model = CompactEncoder(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        got = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    scaled = {name for name in wanted if name + SCALE in got}
    wanted |= {name + SCALE: (wanted[name][0], 1) for name in scaled if len(wanted[name]) == 2}
    if wanted != got:
        wrong = [
            f"{name}: got {got.get(name, 'nothing')}, expected {wanted.get(name, 'no such tensor')}"
            for name in sorted(wanted.keys() | got.keys())
            if wanted.get(name) != got.get(name)
        ]
        raise CheckpointError(f"{path} does not fit its configuration:\n  " + "\n  ".join(wrong))
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in names}
    for name in wanted.keys() - {name + SCALE for name in scaled}:
        value = weights[name]
        scale = weights.pop(name + SCALE).float() if name in scaled else 1.0
        fitting = value.dtype == torch.int8 if name in scaled else value.is_floating_point()
        weights[name] = value.float() * scale
        if not fitting or not bool(weights[name].isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds {value.dtype} that are not weights")
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
