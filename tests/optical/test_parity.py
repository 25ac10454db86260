"""The full encoder against transformers' implementation of the same network.

Both run in float32 from the same seeded weights. Relative L2 of the sequences at 512 px,
measured with the narrow weights: equal 0; GELU by tanh in the window part 1.3e-4, by erf in
the global part 5e-3, no antialiasing of the position tables 1.8e-1, nearest relative
positions 2.1e-1. Exchanged epsilons are just above the tolerance (1.1e-5), so they are
asserted as constants as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.deepencoder_oracle import (
    NARROW,
    oracle,
    published_file,
    relative_error,
    seeded_weights,
)

from energy_plugin.optical import DeepEncoder, DeepEncoderConfig
from energy_plugin.optical.config import CLIP_EPS, SAM_EPS

pytest.importorskip("transformers", minversion="5.20")
TOLERANCE = 1e-5


def _pixels(side: int, count: int = 1, seed: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("narrow")
    weights = seeded_weights(NARROW)
    published_file(folder, weights)
    return DeepEncoder.from_state_dict(weights), oracle(folder, NARROW)


def test_epsilons(narrow):
    ours, _ = narrow
    assert (SAM_EPS, CLIP_EPS) == (1e-6, 1e-5)
    eps = {
        part: {m.eps for m in getattr(ours, part).modules() if isinstance(m, torch.nn.LayerNorm)}
        for part in ("sam_model", "vision_model")
    }
    assert eps == {"sam_model": {1e-6}, "vision_model": {1e-5}}


@pytest.mark.parametrize(
    ("side", "count"),
    [(512, 2), (640, 2), (1024, 1), pytest.param(1280, 1, marks=pytest.mark.slow)],
)
@torch.inference_mode()
def test_narrow_parity(narrow, side, count):
    ours, theirs = narrow
    pixels = _pixels(side, count)
    wanted = torch.stack(theirs.get_image_features(pixels).pooler_output)
    tokens = ours(pixels)
    assert tokens.shape == (count, (side // 64) ** 2, NARROW.projector)
    got = ours.arrange(tokens)
    assert got.shape == wanted.shape
    assert relative_error(got, wanted) <= TOLERANCE


@torch.inference_mode()
def test_tiles_and_global_view(narrow):
    """Gundam: the joined tiles of 3×2 come first, then the global view, then the separator."""
    ours, theirs = narrow
    page, tiles = _pixels(512), _pixels(320, 6, seed=4)
    wanted = theirs.get_image_features(
        page, pixel_values_local=tiles, num_local_patches=[6], patches_grid=[[3, 2]]
    ).pooler_output[0]
    got = ours.arrange(ours(page), ours(tiles)[None], (3, 2))[0]
    assert got.shape == wanted.shape == (2 * 5 * (3 * 5 + 1) + 8 * 9 + 1, NARROW.projector)
    assert relative_error(got, wanted) <= TOLERANCE


@pytest.mark.slow
@torch.inference_mode()
def test_full_width_parity(tmp_path: Path):
    """401 million seeded weights; about 4 GB of memory, some minutes."""
    weights = seeded_weights(DeepEncoderConfig.full())
    published_file(tmp_path, weights)
    ours, theirs = DeepEncoder.from_state_dict(weights), oracle(tmp_path, DeepEncoderConfig.full())
    del weights
    for side in (512, 640, 1024):
        pixels = _pixels(side)
        wanted = theirs.get_image_features(pixels).pooler_output[0]
        assert relative_error(ours.arrange(ours(pixels))[0], wanted) <= TOLERANCE, side
