"""Checkpoints of every format keep loading, to the bit, and give the same vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from energy_plugin.optical import OpticalEncoder
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.weights.checkpoint import SCALE

_GOLDEN = Path(__file__).parents[1] / "golden" / "optical"


@pytest.mark.parametrize("name", ["compact-v1", "compact-v2"])
def test_a_compact_checkpoint_keeps_loading(name: str) -> None:
    path = _GOLDEN / f"{name}.safetensors"
    wanted = json.loads((_GOLDEN / f"{name}.json").read_text("utf-8"))
    encoder = OpticalEncoder.from_pretrained(path, device="cpu")
    assert encoder.fingerprint == wanted["fingerprint"]
    assert isinstance(encoder.model, CompactEncoder)
    state = encoder.model.state_dict()
    with safe_open(path, "pt") as file:
        kept = set(file.keys())
        assert {key for key in kept if not key.endswith(SCALE)} == set(state)
        for key in state:
            value = file.get_tensor(key).float()
            if key + SCALE in kept:
                value = value * file.get_tensor(key + SCALE)
            assert torch.equal(value, state[key])
    # Other processors add in another order; one bit of float32 is 6e-8.
    np.testing.assert_allclose(encoder.encode(wanted["texts"]), wanted["vectors"], atol=2e-6)
