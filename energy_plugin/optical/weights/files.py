"""Files with published weights: found, checked by their heads, read, written.

Only safetensors files are read, and of them only the encoder's tensors. Nothing is
unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.weights.published import PREFIX, check_shapes, vision_key

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DAMAGE = (  # what reading JSON of others raises
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)
_PLAIN = re.compile(r"[\w.-]+")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def files_of(path: Path) -> list[Path]:
    """The safetensors files of a model: a file, or those that a folder holds or indexes.

    Raises
    ------
    CheckpointError
        There is none, or the folder's index is damaged or names files that are not there.
    """
    if path.is_file():
        if path.suffix in _PICKLES:
            raise CheckpointError(
                f"{path} is a pickle, which may run any code when read; expected safetensors"
            )
        return [path]
    if (path / INDEX).is_file():
        try:
            where = json.loads((path / INDEX).read_text("utf-8"))["weight_map"]
            names = {file for key, file in where.items() if vision_key(key)}
        except (*DAMAGE, OSError) as error:
            raise CheckpointError(f"{path / INDEX} is damaged: {error!r}") from error
        outside = sorted(str(name) for name in names if not is_plain(name))
        if outside:
            raise CheckpointError(
                f"{path / INDEX} names {outside}, expected files of its own folder. Download the "
                "repository again"
            )
        missing = sorted(name for name in names if not (path / name).is_file())
        if missing:
            raise CheckpointError(
                f"{path} lacks {missing}, which its {INDEX} names; download them again"
            )
        return sorted(path / name for name in names)
    found = [path / SINGLE] if (path / SINGLE).is_file() else sorted(path.glob("*.safetensors"))
    if not found:
        pickles = sorted(file.name for file in path.glob("*") if file.suffix in _PICKLES)
        hint = f"; {pickles} are pickles, which are never read" if pickles else ""
        raise CheckpointError(f"{path} has no safetensors file{hint}")
    return found


def is_plain(name: object) -> bool:
    """Whether a name of a file, that others wrote, stays in its folder."""
    return isinstance(name, str) and bool(_PLAIN.fullmatch(name)) and set(name) != {"."}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def is_published(path: Path) -> bool:
    """Whether a file has published names: then it says nothing of our own in its head."""
    with _opened(path) as file:
        return "config" not in (file.metadata() or {}) and any(
            vision_key(key)
            for key in file.keys()  # noqa: SIM118
        )


def check(path: Path) -> None:
    """Compare the heads of published weights with what an encoder needs; no tensor is read.

    Raises
    ------
    CheckpointError
        As of `read`.
    """
    _heads(path)


def _heads(path: Path) -> tuple[dict[str, tuple[Path, str]], frozenset[str]]:
    """File and name of each tensor by its published key, and the keys that an encoder uses."""
    shapes: dict[str, tuple[int, ...]] = {}
    places: dict[str, tuple[Path, str]] = {}
    for name in files_of(path):
        with _opened(name) as file:
            for key in file.keys():  # noqa: SIM118
                bare = vision_key(key)
                if bare is None:
                    continue
                if bare in places:
                    raise CheckpointError(f"{path} holds {bare!r} twice: {places[bare]} and {name}")
                shapes[bare] = tuple(file.get_slice(key).get_shape())
                places[bare] = (name, key)
    return places, check_shapes(shapes, str(path))[1]


def read(path: Path) -> dict[str, Tensor]:
    """The encoder's tensors of a file or folder, in the precision of the file.

    Heads are compared with what an encoder needs before any tensor is read.

    Returns
    -------
    dict of str to Tensor
        By published key without prefix.

    Raises
    ------
    CheckpointError
        A file cannot be read, or a tensor is missing or misshapen; all are named.
    """
    places, used = _heads(path)
    weights: dict[str, Tensor] = {}
    for name in files_of(path):
        with _opened(name) as file:
            for bare, (home, key) in places.items():
                if home == name and bare in used:
                    weights[bare] = file.get_tensor(key)
    return weights


def digest(weights: Mapping[str, Tensor]) -> str:
    """Provenance of weights, wherever they were read from: 16 hexadecimal digits."""
    made = hashlib.blake2b(digest_size=8)
    for key in sorted(weights):
        value = weights[key].detach().cpu().contiguous()
        made.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        made.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return made.hexdigest()


def export(weights: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype | None = None) -> int:
    """Write an encoder-only file with the published names.

    The file appears whole or not at all.

    Parameters
    ----------
    weights : mapping of str to Tensor
        As from `read`.
    path : Path
    dtype : torch.dtype, optional
        Of the file; that of the weights unless given.

    Returns
    -------
    int
        Its bytes.
    """
    from safetensors.torch import save_file

    part = path.with_name(path.name + ".part")
    tensors = {
        PREFIX + key: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous()
        for key, value in weights.items()
    }
    try:
        save_file(tensors, part, metadata={"format": "pt"})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return path.stat().st_size
