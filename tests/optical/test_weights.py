"""Published weights from files, folders and a server with byte ranges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.deepencoder_oracle import NARROW, published_file, seeded_weights
from support.hub_server import serving

from energy_plugin.errors import CheckpointError
from energy_plugin.optical import DeepEncoder, DeepEncoderConfig
from energy_plugin.optical.weights import files as weights
from energy_plugin.optical.weights import hub

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def seeded():
    return {key: value.bfloat16() for key, value in seeded_weights(NARROW).items()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory, seeded) -> Path:
    """A folder as published: two shards, an index, and most bytes of another part."""
    folder = tmp_path_factory.mktemp("repository")
    keys = sorted(seeded)
    other = {"model.embed_tokens.weight": torch.ones(1000, 500), "lm_head.weight": torch.ones(9)}
    shards = {
        "model-00001-of-000002.safetensors": {
            **other,
            **{f"model.{key}": seeded[key] for key in keys[:40]},
        },
        "model-00002-of-000002.safetensors": {f"model.{key}": seeded[key] for key in keys[40:]},
    }
    where = {}
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
        where |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


@pytest.fixture
def server(repository):
    def find(name):
        path = repository / name
        return path.read_bytes() if path.is_file() else None

    with serving(find, COMMIT) as one:
        yield one


def test_full_size_has_the_published_split():
    with torch.device("meta"):
        model = DeepEncoder(DeepEncoderConfig.full())
    state = model.state_dict()

    def count(*parts: str) -> tuple[int, int]:
        found = [value.numel() for key, value in state.items() if key.startswith(parts)]
        return len(found), sum(found)

    assert count("sam_model.") == (179, 95_569_152)
    assert count("vision_model.") == (293, 303_177_728)
    assert count("projector.layers.") == (2, 2_622_720)
    assert count("image_newline", "view_seperator") == (2, 2_560)
    assert count("") == (476, 401_372_160)
    assert state["sam_model.blocks.2.attn.rel_pos_h"].shape == (127, 64)
    assert state["vision_model.transformer.layers.23.self_attn.qkv_proj.weight"].shape[0] == 3072


def test_sizes_are_inferred_and_prefixes_are_free(seeded):
    bare = DeepEncoder.from_state_dict(seeded)
    prefixed = DeepEncoder.from_state_dict(
        {f"model.{key}": value for key, value in seeded.items()}
        | {"model.layers.0.mlp.up_proj.weight": torch.ones(3), "lm_head.weight": torch.ones(2)}
        | {"model.vision_model.embeddings.position_ids": torch.arange(257)}
    )
    assert bare.config == prefixed.config == NARROW
    for key, value in bare.state_dict().items():
        assert torch.equal(value, seeded[key].float())
        assert torch.equal(value, prefixed.state_dict()[key])
    # The one published tensor that nothing reads may be absent.
    unused = "vision_model.embeddings.patch_embedding.weight"
    DeepEncoder.from_state_dict({k: v for k, v in seeded.items() if k != unused})


def test_every_missing_or_misshapen_key_is_named(seeded):
    broken = dict(seeded)
    del broken["sam_model.blocks.1.attn.rel_pos_w"]
    del broken["view_seperator"]
    broken["projector.layers.bias"] = torch.zeros(7)
    broken["vision_model.post_layernorm.weight"] = torch.zeros(192)
    with pytest.raises(CheckpointError) as caught:
        DeepEncoder.from_state_dict(broken)
    message = str(caught.value)
    assert "sam_model.blocks.1.attn.rel_pos_w: got nothing, expected (127, 64)" in message
    assert "view_seperator: got nothing, expected (80,)" in message
    assert "projector.layers.bias: got (7,), expected (80,)" in message
    assert "post_layernorm" not in message  # nothing that the encoder reads
    assert "3 of 112 tensors" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_newline": torch.full((80,), float("nan"))}, "image_newline: NaN or infinity"),
        ({"image_newline": torch.ones(80, dtype=torch.int8)}, "int8, expected floating point"),
        ({"model.image_newline": torch.ones(80)}, "'image_newline' twice"),
    ],
)
def test_weights_that_are_none_are_refused(seeded, change, message):
    with pytest.raises(CheckpointError, match=message):
        DeepEncoder.from_state_dict(seeded | change)


def test_foreign_state_dicts_are_refused():
    with pytest.raises(CheckpointError, match="no tensor of a DeepEncoder"):
        DeepEncoder.from_state_dict({"bert.embeddings": torch.ones(3)})
    odd = {"sam_model.patch_embed.proj.weight": torch.ones(100, 3, 16, 16)}
    with pytest.raises(CheckpointError, match="100 channels wide, expected a multiple of 64"):
        DeepEncoder.from_state_dict(odd)


def test_parts_of_different_encoders_are_refused(seeded):
    mixed = seeded | {"sam_model.net_3.weight": torch.ones(128, 64, 3, 3)}
    with pytest.raises(CheckpointError, match="gives 128 channels and the global part takes 192"):
        DeepEncoder.from_state_dict(mixed)


def test_state_dict_round_trip(seeded):
    first = DeepEncoder.from_state_dict(seeded)
    again = DeepEncoder.from_state_dict(first.state_dict())
    pixels = torch.rand(1, 3, 128, 128) * 2 - 1
    assert torch.equal(first(pixels), again(pixels))
    first.load_state_dict(again.state_dict())
    assert set(first.state_dict()) == set(seeded)


def test_folder_file_export_and_server_are_one_encoder(
    repository, seeded, server, tmp_path, monkeypatch
):
    url, handler = server
    monkeypatch.setattr(hub, "CHUNK", 1 << 16)
    fetched = hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    # Only the encoder's bytes came over the line.
    wanted = sum(value.numel() * 2 for value in seeded.values())
    shards = sum(size for name, size in handler.sent.items() if name.endswith("safetensors"))
    stored = sum(file.stat().st_size for file in repository.glob("*.safetensors"))
    assert wanted <= shards < wanted + 40_000 < stored - 1_900_000
    from_folder = weights.read(repository)
    from_hub = weights.read(fetched)
    assert weights.export(from_folder, tmp_path / "out.safetensors") == len(
        (tmp_path / "out.safetensors").read_bytes()
    )
    assert set(load_file(tmp_path / "out.safetensors")) == {f"model.{key}" for key in seeded}
    for found in (from_folder, from_hub, weights.read(tmp_path / "out.safetensors")):
        assert weights.digest(found) == weights.digest(seeded)

    # A second time nothing is asked for but the versions; without a server, nothing at all.
    before = dict(handler.sent)
    assert hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url) == fetched
    index = "model.safetensors.index.json"
    assert {k: v for k, v in handler.sent.items() if k != index} == {
        k: v for k, v in before.items() if k != index
    }
    assert hub.fetch("owner/model", cache_dir=tmp_path, local_files_only=True) == fetched
    assert (
        hub.fetch("owner/model", revision=COMMIT, cache_dir=tmp_path, endpoint="http://127.0.0.1:9")
        == fetched
    )
    assert not list(tmp_path.rglob("*.part"))


def test_servers_that_cannot_serve_are_refused(server, tmp_path):
    url, handler = server
    handler.ranges = False
    with pytest.raises(CheckpointError, match="does not serve byte ranges"):
        hub.fetch("owner/model", cache_dir=tmp_path, endpoint=url)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(CheckpointError, match="no encoder of 'owner/other'"):
        hub.fetch("owner/other", cache_dir=tmp_path, local_files_only=True)


def test_files_that_are_no_weights_are_refused(tmp_path, seeded):
    path = published_file(tmp_path, seeded)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        weights.read(cut)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match="is a pickle"):
        weights.read(tmp_path / "pytorch_model.bin")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "encoder.pth").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"no safetensors file; \['encoder.pth'\] are pickles"
    ):
        weights.read(empty)
    (empty / "model.safetensors.index.json").write_text('{"weight_map": {"image_newline": "x"}}')
    with pytest.raises(CheckpointError, match=r"lacks \['x'\]"):
        weights.read(empty)
    (empty / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="is damaged"):
        weights.read(empty)
