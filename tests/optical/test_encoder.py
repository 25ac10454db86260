from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from energy_plugin.errors import CheckpointError, InvalidInputError, UnreadablePageError
from energy_plugin.optical import OpticalEncoder, Typesetter, load_encoder, precision
from energy_plugin.optical.config import DeepEncoderConfig
from energy_plugin.optical.typesetting.tiles import cut_tiles
from energy_plugin.optical.weights import checkpoint

TEXT = "the cat sat on the mat"
LONG = " ".join(f"word{n}" for n in range(60))  # 15 tiles, four pages of the small encoder


def test_one_text_is_a_vector_and_several_are_a_matrix(small_encoder: OpticalEncoder) -> None:
    one = small_encoder.encode(TEXT)
    several = small_encoder.encode([TEXT, LONG])
    assert one.shape == (24,)
    assert several.shape == (2, 24)
    assert several.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(several, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(several[0], one, atol=1e-5)
    assert small_encoder.encode([]).shape == (0, 24)


def test_a_vector_does_not_depend_on_its_batch(small_encoder: OpticalEncoder) -> None:
    texts = [TEXT, LONG, "csv", f"{LONG} {TEXT}"]
    together = small_encoder.encode(texts, batch_size=4)
    alone = np.stack([small_encoder.encode(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_one_glyph_moves_the_vector(small_encoder: OpticalEncoder) -> None:
    a, b = small_encoder.encode(["the cat sat", "the cot sat"])
    assert np.abs(a - b).max() > 1e-3


def test_order_of_words_moves_the_vector(small_encoder: OpticalEncoder) -> None:
    # Inside one tile, and across tiles.
    a, b = small_encoder.encode(["dog bites man", "man bites dog"])
    assert np.abs(a - b).max() > 1e-3
    a, b = small_encoder.encode(["dog bites the old man today", "man today the old dog bites"])
    assert np.abs(a - b).max() > 1e-3


def test_only_pixels_reach_the_network(small_encoder: OpticalEncoder, tmp_path: Path) -> None:
    """A page image gives the vectors of the text that is set on it."""
    (page,) = Typesetter().pages(TEXT)
    picture = Image.fromarray(page.pixels)
    picture.save(tmp_path / "page.png")
    from_images = small_encoder.encode_images([page.pixels, picture, tmp_path / "page.png"])
    for vector in from_images:
        np.testing.assert_allclose(vector, small_encoder.encode(TEXT), atol=1e-5)


def test_tokens_pool_to_the_embedding(small_encoder: OpticalEncoder) -> None:
    (tokens,) = small_encoder.encode_tokens(LONG)
    assert tokens.shape == (15, 24)
    np.testing.assert_allclose(
        tokens.mean(0) / np.linalg.norm(tokens.mean(0)), small_encoder.encode(LONG), atol=1e-5
    )


def test_text_past_the_first_page_counts(small_encoder: OpticalEncoder) -> None:
    assert np.abs(small_encoder.encode(LONG) - small_encoder.encode(f"{LONG} end")).max() > 1e-4


def test_truncated_and_raw_vectors(small_encoder: OpticalEncoder) -> None:
    full = small_encoder.encode(TEXT, normalize_embeddings=False)
    short = small_encoder.encode(TEXT, truncate_dim=8)
    np.testing.assert_allclose(short, full[:8] / np.linalg.norm(full[:8]), atol=1e-5)
    assert isinstance(small_encoder.encode(TEXT, convert_to_tensor=True), torch.Tensor)
    with pytest.raises(InvalidInputError, match="truncate_dim must be at most 24, got 99"):
        small_encoder.encode(TEXT, truncate_dim=99)


def test_bfloat16_stays_close(small_checkpoint: Path, small_encoder: OpticalEncoder) -> None:
    half = OpticalEncoder.from_pretrained(small_checkpoint, device="cpu", dtype="bfloat16")
    assert half.encode(LONG) @ small_encoder.encode(LONG) > 0.99


@pytest.mark.parametrize("native", [True, False])
def test_the_precision_that_suits_the_processor(
    small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: native)
    made = OpticalEncoder.from_pretrained(small_checkpoint, device="cpu", dtype="auto")
    assert made.dtype == ("bfloat16" if native else "float32")
    with pytest.raises(InvalidInputError, match=r"'half', expected one of .*'auto'"):
        OpticalEncoder.from_pretrained(small_checkpoint, device="cpu", dtype="half")


def test_bfloat16_is_native_where_the_processor_says_so() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists() or "flags" not in flags.read_text():
        pytest.skip("the processor's flags cannot be read here")
    words = set(flags.read_text().split())
    assert precision.multiplies_bfloat16("cpu") == bool(words & {"amx_tile", "avx512_bf16"})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("", r"texts\[0\] is empty"),
        (["fine", " \n"], r"texts\[1\] is empty"),
        (["fine", None], r"texts\[1\] is NoneType, expected str"),
        ([b"bytes"], r"texts\[0\] is bytes"),
        (None, r"texts is NoneType, expected a string or a sequence of strings"),
    ],
)
def test_what_cannot_be_typeset_is_named(
    small_encoder: OpticalEncoder, texts: object, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        small_encoder.encode(texts)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.float32), np.full((64, 64), 255, np.uint8), 3]
)
def test_bad_images_are_named(small_encoder: OpticalEncoder, image: object) -> None:
    with pytest.raises(InvalidInputError, match=r"images\[0\]"):
        small_encoder.encode_images([image])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
        ({"truncate_dim": 2.0}, "truncate_dim must be an integer of at least 1, got 2.0"),
    ],
)
def test_bad_options_are_named(
    small_encoder: OpticalEncoder, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        small_encoder.encode(TEXT, **options)  # type: ignore[call-overload]


def test_one_image_is_not_a_sequence_of_images(small_encoder: OpticalEncoder) -> None:
    with pytest.raises(InvalidInputError, match="put one image into a list"):
        small_encoder.encode_images("page.png")  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_refused(small_checkpoint: Path) -> None:
    with pytest.raises(InvalidInputError, match="Unknown device 'abacus'"):
        OpticalEncoder.from_pretrained(small_checkpoint, device="abacus")
    with pytest.raises(InvalidInputError, match="path_or_name is None"):
        OpticalEncoder.from_pretrained(None)  # type: ignore[arg-type]


def test_long_texts_are_read_in_parts(
    small_encoder: OpticalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward pass stays small however long the texts are."""
    whole = small_encoder.encode([LONG, TEXT])
    seen = []
    stages = small_encoder.model.stages

    def watched(lines: Any, places: Any, tiles: torch.Tensor, cache: Any) -> Any:
        seen.append(int(tiles.sum()))
        return stages(lines, places, tiles, cache)

    monkeypatch.setattr(small_encoder.model, "stages", watched)
    monkeypatch.setattr("energy_plugin.optical.page_reader.BATCH_TILES", 5)
    np.testing.assert_allclose(small_encoder.encode([LONG, TEXT]), whole, atol=1e-5)
    assert sum(seen) == 17
    assert max(seen) <= 8


def test_checkpoint_round_trip(small_encoder: OpticalEncoder, small_checkpoint: Path) -> None:
    again = checkpoint.load(small_checkpoint)
    for name, value in small_encoder.model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert again.config == small_encoder.model.config
    assert checkpoint.fingerprint(small_checkpoint) == small_encoder.fingerprint


def test_incomplete_weights_are_refused_by_name(small_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(small_checkpoint, "pt") as file:
        metadata = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del weights["projector.bias"]
    weights["local.pos_embed"] = torch.zeros(5, 24)
    save_file(weights, tmp_path / "model.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError) as caught:
        OpticalEncoder.from_pretrained(tmp_path)
    assert "projector.bias: got nothing, expected (24,)" in str(caught.value)
    assert "local.pos_embed: got (5, 24), expected (18, 24)" in str(caught.value)


def test_what_is_no_checkpoint_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(small_checkpoint.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        OpticalEncoder.from_pretrained(cut)
    with pytest.raises(CheckpointError, match="no encoder of 'owner/model' at 'main' in the cache"):
        OpticalEncoder.from_pretrained("owner/model", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(CheckpointError, match="no encoder at 'nowhere'"):
        OpticalEncoder.from_pretrained("nowhere")


def test_config_round_trip_and_unknown_fields() -> None:
    config = DeepEncoderConfig(line_hidden=(7, 8), glossary=9)
    assert DeepEncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InvalidInputError, match="new_field"):
        DeepEncoderConfig.from_dict(config.to_dict() | {"new_field": 1})


def test_a_picture_without_text_is_refused(small_encoder: OpticalEncoder) -> None:
    pixels = np.full((3000, 2000), 255, np.uint8)
    pixels[:1500] = 0
    with pytest.raises(UnreadablePageError, match=r"images\[1\] \(2000×3000 px\) is blank or"):
        small_encoder.encode_images([Typesetter().pages(TEXT)[0].pixels, pixels])


class TestBundled:
    """The encoder in the package."""

    def test_one_model_in_memory(self) -> None:
        assert load_encoder() is load_encoder("compact")

    def test_size_in_the_package(self) -> None:
        path = Path(checkpoint.__file__).parents[1] / "assets" / "compact.safetensors"
        assert path.stat().st_size <= 40_000_000

    def test_it_knows_what_belongs_together(self) -> None:
        # Few shared words on purpose. The encoder that this was written for found six.
        pairs = {
            "How do I bake bread?": "Mix flour, water and yeast, then put the dough in the oven",
            "The stock market fell sharply": "Share prices dropped as investors sold",
            "a cat on the sofa": "a small kitten sleeping in a chair",
            "read a csv file with a header": "DictReader: rows as dicts keyed by line one",
            "run a command and capture its output": "subprocess: start one, return its stdout",
            "When did the war end?": "The two armies signed the peace treaty in 1918",
            "symptoms of a heart attack": "Chest pain and shortness of breath are signs of it",
        }
        encoder = load_encoder()
        scores = encoder.encode_query(list(pairs)) @ encoder.encode_document(list(pairs.values())).T
        assert (scores.argmax(1) == np.arange(len(pairs))).sum() >= 6

    def test_one_glyph_and_the_order_of_words_move_the_vector(self) -> None:
        encoder = load_encoder()
        cat, cot = encoder.encode(["the cat sat", "the cot sat"])
        bites, bitten = encoder.encode(["dog bites man", "man bites dog"])
        assert cat @ cot < 0.99
        assert bites @ bitten < 0.999

    def test_pages_written_to_disk_read_the_same(self) -> None:
        text = "Pixels in, embedding out: nothing but the image may reach the encoder."
        (page,) = Typesetter().pages(text)
        assert len(cut_tiles(page.pixels)) == page.n_tiles
        encoder = load_encoder()
        np.testing.assert_allclose(
            encoder.encode_images([page.pixels])[0], encoder.encode(text), atol=1e-5
        )
