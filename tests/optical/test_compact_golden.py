"""A checkpoint of the first release keeps loading, to the bit, and gives the same vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from energy_plugin.optical import DeepEncoder, OpticalEncoder

_GOLDEN = Path(__file__).parent / "golden"


def test_compact_checkpoint_of_the_first_release():
    path = _GOLDEN / "compact-v1.safetensors"
    wanted = json.loads((_GOLDEN / "compact-v1.json").read_text("utf-8"))
    encoder = OpticalEncoder.from_pretrained(path, device="cpu")
    assert encoder.fingerprint == wanted["fingerprint"]
    assert isinstance(encoder.model, DeepEncoder)
    state = encoder.model.state_dict()
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(state)
        for name in state:
            assert torch.equal(file.get_tensor(name).float(), state[name])
    # Other processors add in another order; one bit of float32 is 6e-8.
    np.testing.assert_allclose(encoder.encode(wanted["texts"]), wanted["vectors"], atol=2e-6)
