"""Published weights to an encoder: what they must hold, and of what size they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from energy_plugin.errors import CheckpointError
from energy_plugin.optical.config import FullConfig
from energy_plugin.optical.network.full import FullEncoder
from energy_plugin.optical.network.layers import HEAD_WIDTH

PREFIX = "model."
PARTS = ("sam_model.", "vision_model.", "projector.layers.", "image_newline", "view_seperator")
UNUSED = "vision_model.embeddings.patch_embedding.weight"  # in the file, read by nothing
_BUFFERS = ("vision_model.embeddings.position_ids",)
_NAMED = 12  # keys of a message before it says how many more there are


def vision_key(key: str) -> str | None:
    """A key of the published file without its prefix; None for other parts' keys."""
    bare = key.removeprefix(PREFIX)
    return bare if bare.startswith(PARTS) and bare not in _BUFFERS else None


def config_of(shapes: Mapping[str, tuple[int, ...]]) -> FullConfig:
    """Widths and depths of weights, by their published keys; published where unknown.

    Raises
    ------
    CheckpointError
        A width is not a multiple of a head's 64 channels.
    """
    default = FullConfig()

    def size(key: str, axis: int, otherwise: int) -> int:
        shape = shapes.get(key, ())
        return shape[axis] if len(shape) > axis else otherwise

    def depth(pattern: str, otherwise: int) -> int:
        places = [int(m[1]) for key in shapes if (m := re.match(pattern, key))]
        return max(places) + 1 if places else otherwise

    sam = "sam_model."
    blocks, layers = f"{sam}blocks.", "vision_model.transformer.layers."
    sam_grid = size(f"{sam}pos_embed", 1, default.sam_grid)
    sam_depth = depth(rf"{re.escape(blocks)}(\d+)\.", default.sam_depth)
    layers_depth = depth(rf"{re.escape(layers)}(\d+)\.", default.depth)
    if max(sam_depth, layers_depth) > len(shapes) + default.depth:
        raise CheckpointError(
            f"the weights name {sam_depth} and {layers_depth} blocks, more than their "
            f"{len(shapes)} tensors can fill"
        )
    lengths = [
        size(f"{blocks}{i}.attn.rel_pos_h", 0, 0) for i in range(min(sam_depth, len(shapes)))
    ]
    across = {i for i, length in enumerate(lengths) if length == 2 * sam_grid - 1}
    windows = [(length + 1) // 2 for i, length in enumerate(lengths) if length and i not in across]
    positions = size("vision_model.embeddings.position_embedding.weight", 0, 1 + default.grid**2)
    config = FullConfig(
        sam_width=size(f"{sam}patch_embed.proj.weight", 0, default.sam_width),
        sam_mlp=size(f"{blocks}0.mlp.lin1.weight", 0, default.sam_mlp),
        sam_depth=sam_depth,
        sam_grid=sam_grid,
        window=windows[0] if windows else default.window,
        global_blocks=tuple(sorted(across)) if any(lengths) else default.global_blocks,
        neck=size(f"{sam}neck.0.weight", 0, default.neck),
        compressor=(
            size(f"{sam}net_2.weight", 0, default.compressor[0]),
            size(f"{sam}net_3.weight", 0, default.compressor[1]),
        ),
        width=size("vision_model.embeddings.class_embedding", 0, default.width),
        mlp=size(f"{layers}0.mlp.fc1.weight", 0, default.mlp),
        depth=layers_depth,
        grid=math.isqrt(max(positions - 1, 1)),
        projector=size("projector.layers.weight", 0, default.projector),
    )
    for name, width in (("window", config.sam_width), ("global", config.width)):
        if width < HEAD_WIDTH or width % HEAD_WIDTH:
            raise CheckpointError(
                f"the {name} part of the weights is {width} channels wide, expected a multiple "
                f"of {HEAD_WIDTH}, the width of a head"
            )
    if config.compressor[1] != config.width:
        raise CheckpointError(
            f"the compressor of the weights gives {config.compressor[1]} channels and the global "
            f"part takes {config.width}; they belong to different encoders"
        )
    return config


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], source: str
) -> tuple[FullConfig, frozenset[str]]:
    """Compare what is there with what an encoder of that size needs.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        By published key without prefix; only keys of the encoder.
    source : str
        What the message calls them.

    Returns
    -------
    FullConfig
    frozenset of str
        The keys that the encoder uses; others are to be ignored.

    Raises
    ------
    CheckpointError
        Naming every missing or misshapen key.
    """
    if not shapes:
        raise CheckpointError(
            f"{source} has no tensor of a DeepEncoder: expected the published names "
            f"({', '.join(PARTS)}…), with or without {PREFIX!r} in front"
        )
    config = config_of(shapes)
    with torch.device("meta"):
        wanted = {
            key: tuple(value.shape) for key, value in FullEncoder(config).state_dict().items()
        }
    needed = {key: shape for key, shape in wanted.items() if key != UNUSED or key in shapes}
    wrong = [
        f"{key}: got {shapes.get(key, 'nothing')}, expected {shape}"
        for key, shape in sorted(needed.items())
        if shapes.get(key) != shape
    ]
    if wrong:
        raise CheckpointError(
            f"{source} does not hold a complete DeepEncoder; {len(wrong)} of {len(needed)} "
            "tensors are missing or of another shape:\n  " + "\n  ".join(wrong)
        )
    return config, frozenset(needed)


def encoder_of(
    state_dict: Mapping[str, Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    source: str = "the state dict",
) -> FullEncoder:
    """See `DeepEncoder.from_state_dict`."""
    weights: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        bare = vision_key(key)
        if bare is not None and bare in weights:
            raise CheckpointError(f"{source} holds {bare!r} twice, with and without {PREFIX!r}")
        if bare is not None:
            weights[bare] = value
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    config, used = check_shapes(shapes, source)
    weights = {key: value for key, value in weights.items() if key in used}
    bad = [f"{key}: {_fault(value)}" for key, value in weights.items() if _fault(value) is not None]
    if bad:
        more = [f"and {len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
        raise CheckpointError(
            f"{source} has tensors that are not weights:\n  " + "\n  ".join([*bad[:_NAMED], *more])
        )
    with torch.device("meta"):
        model: Any = FullEncoder(config)
    if UNUSED not in weights:
        weights[UNUSED] = torch.zeros(
            model.vision_model.embeddings.patch_embedding.weight.shape, dtype=dtype, device="cpu"
        )
    model.load_state_dict(
        {key: value.detach().to(dtype) for key, value in weights.items()}, assign=True
    )
    return model.requires_grad_(False).eval()


def _fault(value: Tensor) -> str | None:
    if not value.is_floating_point():
        return f"{value.dtype}, expected floating point"
    return None if bool(value.isfinite().all()) else "NaN or infinity"
