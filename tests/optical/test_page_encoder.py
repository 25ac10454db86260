"""Published weights as an encoder of texts and images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.deepencoder_oracle import NARROW, published_file, seeded_weights

from energy_plugin.errors import DeviceMemoryError, InvalidInputError
from energy_plugin.optical import OpticalEncoder
from energy_plugin.optical import halving as memory
from energy_plugin.optical.page_encoder import PageEncoder

SHORT = "Optical compression maps text to pixels."
LONG = " ".join(f"word{n}" for n in range(400))  # two Tiny pages, one of Base


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("published")
    published_file(made, {k: v.bfloat16() for k, v in seeded_weights(NARROW).items()})
    return made


@pytest.fixture(scope="module")
def tiny(folder) -> PageEncoder:
    return OpticalEncoder.from_pretrained(folder, mode="tiny", device="cpu")


def test_texts_to_vectors(tiny):
    assert isinstance(tiny, PageEncoder)
    assert tiny.dim == NARROW.projector
    together = tiny.encode([SHORT, LONG, "x"])
    assert together.shape == (3, NARROW.projector)
    assert together.dtype == np.float32
    alone = np.stack([tiny.encode(text) for text in (SHORT, LONG, "x")])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.abs(together[0] - tiny.encode(SHORT.replace("maps", "naps"))).max() > 1e-3


def test_tokens_pool_to_the_vector_and_blank_areas_are_left_out(tiny):
    short, long = tiny.encode([SHORT, LONG], output="tokens", normalize_embeddings=False)
    assert short.shape == (5, NARROW.projector)  # 40 characters of 8 px: five areas of 64 px
    assert len(long) > 64  # two pages
    for tokens, text in ((short, SHORT), (long, LONG)):
        mean = tokens.mean(0)
        np.testing.assert_allclose(mean / np.linalg.norm(mean), tiny.encode(text), atol=2e-5)
    (unit,) = tiny.encode([SHORT], output="tokens")
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    (same,) = tiny.encode_tokens(SHORT)
    np.testing.assert_allclose(same, short, atol=1e-5)


def test_a_page_as_image_gives_the_vector_of_its_text(tiny, tmp_path):
    (page,) = tiny.pages(SHORT)
    Image.fromarray(page).save(tmp_path / "page.png")
    for image in (page, Image.fromarray(page), tmp_path / "page.png"):
        (vector,) = tiny.encode_images([image])
        np.testing.assert_allclose(vector, tiny.encode(SHORT), atol=1e-5)


def test_sequences_have_the_published_lengths(folder):
    image = np.random.default_rng(1).integers(0, 255, (500, 700, 3), dtype=np.uint8)
    for mode, length in (("tiny", 73), ("small", 111), ("gundam", 893)):
        encoder = OpticalEncoder.from_pretrained(folder, mode=mode, device="cpu")
        sequence = encoder.sequence(image)
        assert sequence.shape == (length, NARROW.projector)
        newline, separator = encoder.model.image_newline, encoder.model.view_seperator
        np.testing.assert_allclose(sequence[-1], separator, atol=1e-6)
        row = 30 if mode == "gundam" else 8  # after a row of three tiles, or of the page
        if mode != "small":
            np.testing.assert_allclose(sequence[row], newline, atol=1e-6)


def test_auto_takes_the_smallest_page_that_holds_the_text(folder):
    auto = OpticalEncoder.from_pretrained(folder, device="cpu")
    assert auto.config["mode"] == "auto"
    assert auto.mode_of(SHORT).name == "tiny"
    assert auto.mode_of("x" * 2048).name == "tiny"
    assert auto.mode_of("x" * 2049).name == "small"
    assert auto.mode_of("x" * 3201).name == "base"
    assert auto.mode_of("x" * 8193).name == auto.mode_of("x" * 99_999).name == "large"
    assert len(auto.pages("x" * 12_801)) == 2
    gentle = OpticalEncoder.from_pretrained(folder, compression=1.0, device="cpu")
    words = " ".join(["word"] * 90)  # 90 text tokens on a page of 64 vision tokens
    assert (auto.mode_of(words).name, gentle.mode_of(words).name) == ("tiny", "small")
    assert auto.fingerprint != gentle.fingerprint


def test_layouts_give_other_pages_and_other_fingerprints(folder, tiny):
    tiles = OpticalEncoder.from_pretrained(folder, mode="tiny", layout="tiles", device="cpu")
    assert tiles.fingerprint != tiny.fingerprint
    (page,) = tiles.pages(SHORT)
    assert page.shape == (512, 512)
    assert (page[:16, :64] == 0).any()
    assert tiles.encode(SHORT) @ tiny.encode(SHORT) < 0.999


def test_overflow_is_pooled_told_or_refused(folder, tiny):
    assert len(tiny.pages(LONG)) == 2
    with pytest.warns(UserWarning, match=r"texts\[1\] needs 2 pages"):
        told = OpticalEncoder.from_pretrained(
            folder, mode="tiny", on_overflow="warn", device="cpu"
        ).encode([SHORT, LONG])
    np.testing.assert_allclose(told, tiny.encode([SHORT, LONG]), atol=1e-5)
    strict = OpticalEncoder.from_pretrained(folder, mode="tiny", on_overflow="raise", device="cpu")
    with pytest.raises(InvalidInputError, match="needs 2 pages; choose a larger mode"):
        strict.encode(LONG)


def test_bfloat16_stays_close(folder, tiny):
    half = OpticalEncoder.from_pretrained(folder, mode="tiny", device="cpu", dtype="bfloat16")
    assert next(half.model.parameters()).dtype == torch.bfloat16
    assert half.encode(SHORT) @ tiny.encode(SHORT) > 0.99


def test_a_batch_that_does_not_fit_is_halved(tiny, monkeypatch):
    texts = [f"{SHORT} {n}" for n in range(4)]
    whole = tiny.encode(texts)
    forward, sizes = tiny.model.forward, []

    def short_of_memory(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return forward(pixels)

    monkeypatch.setattr(tiny.model, "forward", short_of_memory)
    np.testing.assert_allclose(tiny.encode(texts), whole, atol=2e-5)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]

    def none_left(pixels):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(tiny.model, "forward", none_left)
    with pytest.raises(DeviceMemoryError, match=r"one page does not fit.*choose a smaller mode"):
        tiny.encode(SHORT)
    with pytest.raises(RuntimeError, match="another fault"):
        memory.halved(lambda items: (_ for _ in ()).throw(RuntimeError("another fault")), [1, 2])


@pytest.mark.parametrize(
    "text",
    ["a\x00\x1b[31mb", "lone \ud800 surrogate", "مرحبا بالعالم", "שלום", "\u200b\u200bx", "🙂"],
)
def test_odd_texts_are_read(tiny, text):
    compact = OpticalEncoder.from_pretrained("compact", device="cpu")
    for encoder in (tiny, compact):
        assert np.isfinite(encoder.encode(text)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "huge"}, "mode is 'huge'"),
        ({"layout": "spiral"}, "layout is 'spiral'"),
        ({"compression": 0}, "compression is 0"),
        ({"on_overflow": "cut"}, "on_overflow is 'cut'"),
        ({"max_tiles": 0}, "max_tiles must be"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"device": "cuda:99"}, "Device 'cuda:99' is not available"),
    ],
)
def test_bad_options_are_named(folder, options, message):
    with pytest.raises(InvalidInputError, match=message):
        OpticalEncoder.from_pretrained(folder, **{"device": "cpu", **options})


def test_modes_that_the_compact_weights_cannot_serve_are_refused(tiny):
    for options in ({"mode": "base"}, {"layout": "page"}):
        with pytest.raises(InvalidInputError, match="reads mode 'tiny' and layout 'tiles'"):
            OpticalEncoder.from_pretrained("compact", **options)
    with pytest.raises(InvalidInputError, match="split it into passages"):
        tiny.encode("x " * 50_000_000)
    with pytest.raises(InvalidInputError, match="output is 'both'"):
        tiny.encode(SHORT, output="both")
    for pixels in (torch.zeros(1, 3, 100, 100), torch.zeros(1, 1, 64, 64), torch.zeros(3, 64, 64)):
        with pytest.raises(InvalidInputError, match="pixels have"):
            tiny.model(pixels)
    with pytest.raises(InvalidInputError, match="of a square grid"):
        tiny.model.arrange(torch.zeros(1, 63, 80))
