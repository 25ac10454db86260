"""The same encoder as `transformers` implements it, narrow, and seeded weights for both."""

from __future__ import annotations

from torch import Tensor

from energy_plugin.evaluation.peer_encoder import peer as oracle
from energy_plugin.evaluation.peer_encoder import published_file, seeded_weights
from energy_plugin.optical.config import FullConfig

__all__ = ["NARROW", "oracle", "published_file", "relative_error", "seeded_weights"]

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


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Relative L2."""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())
