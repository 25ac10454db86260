"""Pages back to text: the same tokens as transformers' own whole model, and clear refusals.

Narrow seeded weights, of which nothing can be read: what is held is that the decoder is given
the same vision tokens at the same place, and decodes them in the same way.
"""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.deepencoder_oracle import NARROW, published_file, seeded_weights

pytest.importorskip("transformers", minversion="5.20")

from support.decoder_oracle import IMAGE_ID, WORDS, published_folder, whole_model

from energy_plugin.errors import CheckpointError, InvalidInputError, OptionalDependencyError
from energy_plugin.optical import OpticalDecoder, OpticalEncoder
from energy_plugin.optical.typesetting.page import PageTypesetter

WINDOW = 8
TEXTS = ("The wing stalls.", "Bread rises because of yeast.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published_folder(tmp_path_factory.mktemp("whole"), whole_model(None))


@pytest.fixture(scope="module")
def decoder(folder):
    return OpticalDecoder.from_pretrained(folder, mode="tiny", device="cpu")


@pytest.mark.parametrize("window", [None, WINDOW], ids=["full attention", "window"])
@torch.inference_mode()
def test_the_tokens_are_those_of_the_whole_model(window, tmp_path):
    """Transformers alone reads the same folder, vision part included."""
    import transformers

    model = whole_model(window)
    folder = published_folder(tmp_path, model, window)
    theirs = transformers.UnlimitedOcrForConditionalGeneration.from_pretrained(
        folder, config=model.config, dtype=torch.float32
    ).eval()
    decoder = OpticalDecoder.from_pretrained(folder, mode="tiny", device="cpu")
    new_tokens = 3 * WINDOW
    found = []
    for text in TEXTS:
        (page,) = PageTypesetter(512).pages(text)
        pixels = (torch.from_numpy(page).float() / 127.5 - 1).expand(1, 3, 512, 512)
        prompt = [0, *[IMAGE_ID] * 73, WORDS.index("Free"), WORDS.index("OCR.")]
        whole = theirs.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            pixel_values=pixels,
            max_new_tokens=new_tokens,
            do_sample=False,
        )
        wanted = tuple(whole[0, len(prompt) :].tolist())
        (read,) = decoder.decode(text, max_new_tokens=new_tokens)
        assert read.token_ids == (wanted,)
        assert read.vision_tokens == (73,)
        assert read.finished == (wanted[-1] == 1)
        (same,) = decoder.decode_images([page], max_new_tokens=new_tokens)
        assert same == read
        found.append(wanted)
    assert found[0] != found[1]  # the image was looked at
    assert min(len(set(wanted)) for wanted in found) > 4


def test_pages_of_a_text_are_read_one_by_one(decoder):
    text = " ".join(["boundary layers"] * 150)
    pages = decoder.encoder.pages(text)
    assert len(pages) == 2
    (read,) = decoder.decode([text], max_new_tokens=3)
    singles = decoder.decode_images(pages, max_new_tokens=3)
    assert read.token_ids == tuple(ids for single in singles for ids in single.token_ids)
    assert read.text == "\n".join(single.text for single in singles)
    assert not read.finished


@pytest.mark.parametrize("prompt", ["Free OCR.", "<image> and <image>"])
def test_a_prompt_names_the_image_once(decoder, prompt):
    with pytest.raises(InvalidInputError, match="expected <image> exactly once"):
        decoder.decode("text", prompt=prompt)


def test_the_compact_encoder_has_no_decoder(tmp_path):
    for name in ("compact", tmp_path):
        if name == tmp_path:
            shutil.copy(_compact_file(), tmp_path / "model.safetensors")
        with pytest.raises(InvalidInputError, match="is a compact encoder, which has no decoder"):
            OpticalDecoder.from_pretrained(name)


def _compact_file():
    from energy_plugin.optical.weights import checkpoint

    return checkpoint.locate("compact")


def test_an_exported_encoder_has_no_decoder(tmp_path):
    published_file(tmp_path, seeded_weights(NARROW))
    with pytest.raises(CheckpointError, match=r"an encoder without a decoder.*complete checkpoint"):
        OpticalDecoder.from_pretrained(tmp_path)


def test_nothing_is_fetched():
    with pytest.raises(CheckpointError, match=r"'owner/name' is not a folder.*download"):
        OpticalDecoder.from_pretrained("owner/name")


def _copy(folder, target):
    shutil.copytree(folder, target)
    return target


def test_damaged_folders_are_refused(folder, tmp_path):
    broken = _copy(folder, tmp_path / "no tokenizer")
    (broken / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        OpticalDecoder.from_pretrained(broken)
    (broken / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a readable tokenizer"):
        OpticalDecoder.from_pretrained(broken)
    (broken / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        OpticalDecoder.from_pretrained(broken)
    (broken / "config.json").write_text(json.dumps({"model_type": "x"}), encoding="utf-8")
    shutil.copy(folder / "tokenizer.json", broken)
    with pytest.raises(CheckpointError, match="describes no language model"):
        OpticalDecoder.from_pretrained(broken)


def test_a_missing_tensor_is_named(folder, tmp_path):
    broken = _copy(folder, tmp_path / "lacking")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.layers.0.self_attn.o_proj.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"layers\.0\.self_attn\.o_proj\.weight"):
        OpticalDecoder.from_pretrained(broken)


def test_one_resolution_is_named(folder):
    for mode in ("auto", "huge"):
        with pytest.raises(InvalidInputError, match="mode is"):
            OpticalDecoder.from_pretrained(folder, mode=mode)
    with pytest.raises(InvalidInputError, match="dtype is 'int8'"):
        OpticalDecoder.from_pretrained(folder, dtype="int8")


def test_a_missing_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OptionalDependencyError, match=r"'transformers' is not installed"):
        OpticalDecoder.from_pretrained(folder)


def test_the_encoder_of_the_folder_is_the_decoders(folder, decoder):
    encoder = OpticalEncoder.from_pretrained(folder, mode="tiny", device="cpu")
    assert encoder.fingerprint == decoder.encoder.fingerprint
