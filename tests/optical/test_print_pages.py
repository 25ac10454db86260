"""Printed pages: found, straightened, read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from energy_plugin.errors import InvalidInputError, UnreadablePageError
from energy_plugin.optical import OpticalEncoder, Typesetter, load_encoder
from energy_plugin.optical.printed.columns import columns
from energy_plugin.optical.printed.evening import even
from energy_plugin.optical.printed.letters import letters
from energy_plugin.optical.printed.lines import lines
from energy_plugin.optical.printed.sheets import LONGEST_SIDE, sheet
from energy_plugin.optical.printed.skew import skew
from energy_plugin.threads import get_threads, set_threads

LINES = (
    "pressure distribution over a swept wing",
    "in supersonic flow at small angles of",
    "attack was measured in a wind tunnel",
    "and compared with the linear theory of",
    "slender bodies and thin lifting surfaces",
    "without any correction for the boundary",
)
OTHER = (
    "the dough is kneaded for ten minutes",
    "and rests in a warm place until it has",
    "doubled, then it is shaped to a loaf and",
    "baked in a hot oven with some steam to",
    "give it the thick crust that is wanted",
    "before it cools on a rack for an hour",
)


def printed(*blocks: tuple[str, ...], size: int = 26) -> Image.Image:
    """A page with one or more columns of lines, in the font that Pillow brings along."""
    font = ImageFont.load_default(size)
    page = Image.new("L", (60 + 560 * len(blocks), 460), 255)
    draw = ImageDraw.Draw(page)
    for place, block in enumerate(blocks):
        for row, line in enumerate(block):
            draw.text((60 + 560 * place, 60 + row * round(1.35 * size)), line, font=font, fill=0)
    return page


@pytest.fixture(scope="module")
def encoder() -> OpticalEncoder:
    return load_encoder("compact", device="cpu")


def found_lines(page: Image.Image) -> list[Any]:
    ink, _ = even(page)
    return [line for block in columns(letters(ink)) for line in lines(ink, block, 0)]


def share_of_words(found: str, wanted: tuple[str, ...]) -> float:
    words = " ".join(wanted).split()
    return len(set(found.split()) & set(words)) / len(set(words))


@pytest.mark.parametrize("angle", [-4.0, -1.5, 0.0, 0.7, 2.0])
def test_skew_is_found(angle: float) -> None:
    page = printed(LINES).rotate(-angle, Image.Resampling.BICUBIC, fillcolor=255)
    assert skew(even(page)[0]) == pytest.approx(angle, abs=0.15)


def test_lines_have_their_baseline_and_letter_height() -> None:
    found = found_lines(printed(LINES))
    assert len(found) == 6
    steps = np.diff([line.baseline for line in found])
    np.testing.assert_allclose(steps, 35, atol=1)
    font = ImageFont.load_default(26)
    height = -font.getbbox("x", anchor="ls")[1]
    assert all(abs(line.x_height - height) <= 1.5 for line in found)
    foot = 60 + font.getbbox("x", anchor="la")[3]
    assert found[0].baseline == pytest.approx(foot, abs=1.5)


def test_columns_are_read_one_after_the_other() -> None:
    found = found_lines(printed(LINES, OTHER))
    assert [line.left > 500 for line in found] == [False] * 6 + [True] * 6


def test_lines_of_tight_leading_are_parted() -> None:
    font = ImageFont.load_default(26)
    page = Image.new("L", (700, 300), 255)
    for row, line in enumerate(LINES):
        ImageDraw.Draw(page).text((40, 30 + 24 * row), line, font=font, fill=0)
    assert len(found_lines(page)) == 6


@pytest.mark.parametrize("change", ["clean", "dark", "grey", "turned", "jpeg", "large"])
def test_print_is_read_and_lies_near_its_text(encoder: OpticalEncoder, change: str) -> None:
    page: Image.Image = printed(LINES)
    if change == "large":
        page = page.resize((1860, 1380), Image.Resampling.BICUBIC)
    if change == "dark":
        page = page.point([255 - value for value in range(256)])
    if change == "grey":
        page = page.point([100 + value // 3 for value in range(256)])
    if change == "turned":
        page = page.rotate(1.8, Image.Resampling.BICUBIC, fillcolor=255)
    if change == "jpeg":
        file = io.BytesIO()
        page.filter(ImageFilter.GaussianBlur(0.7)).save(file, "JPEG", quality=40)
        page = Image.open(file)
    (reading,) = encoder.read([page])
    assert share_of_words(reading.text, LINES) >= 0.85
    texts = encoder.encode([" ".join(LINES), " ".join(OTHER)])
    (vector,) = encoder.encode_images([page])
    assert vector.shape == (384,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vector @ texts[0] > 0.9
    assert vector @ texts[1] < 0.4


def test_boxes_hold_their_words(encoder: OpticalEncoder) -> None:
    for angle in (0.0, 1.5):
        page = printed(LINES).rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
        (reading,) = encoder.read([page])
        assert reading.size == page.size
        assert reading.skew == pytest.approx(-angle, abs=0.15)
        grey = np.asarray(page)
        for word in reading.words:
            left, top, right, bottom = map(round, word.box)
            assert (grey[top:bottom, left:right] < 128).any()
            assert 0 < word.confidence <= 1
        first = reading.words[0]
        assert abs(first.box[0] - 60) < 12
        assert first.line == 0
        assert reading.words[-1].line == 5


def test_documents_of_several_pages_are_one_vector(encoder: OpticalEncoder) -> None:
    pages = [printed(LINES), Image.new("L", (600, 400), 255), printed(OTHER)]
    (vector,) = encoder.encode_pages([pages])
    text = "\n".join(reading.text for reading in encoder.read(pages) if reading.words)
    np.testing.assert_allclose(vector, encoder.encode(text), atol=1e-4)
    assert encoder.encode_pages([]).shape == (0, 384)


def test_one_pass_gives_vectors_and_words(encoder: OpticalEncoder) -> None:
    (own,) = Typesetter().pages("supersonic flow")
    pages = [printed(LINES), Image.new("L", (600, 400), 255), own.pixels, printed(OTHER)]
    vectors, readings = encoder.encode_and_read(pages)
    read = encoder.read(pages)
    assert [one.text for one in readings] == [one.text for one in read]
    assert share_of_words(readings[3].text, OTHER) >= 0.85
    shown = [0, 2, 3]
    np.testing.assert_allclose(
        vectors[shown], encoder.encode_images([pages[row] for row in shown]), atol=1e-4
    )
    assert not vectors[1].any()
    assert readings[1].words == ()


def test_pages_side_by_side_are_read_as_one_by_one(encoder: OpticalEncoder) -> None:
    pages = [printed(LINES), printed(OTHER)] * 3
    before = get_threads()
    set_threads(3)
    try:
        found = [one.text for one in encoder.read(pages)]
        with pytest.raises(InvalidInputError, match=r"images\[1\] is 'no-such.png'"):
            encoder.read([pages[0], "no-such.png", pages[1]])
    finally:
        set_threads(None)
    assert get_threads() == before
    assert found == [encoder.read([page])[0].text for page in pages]


def test_own_pages_keep_their_vectors(encoder: OpticalEncoder, tmp_path: Path) -> None:
    text = "the quick brown fox; naïve Ω 漢字 1234 incomprehensibilities"
    (page,) = Typesetter().pages(text)
    picture = Image.fromarray(page.pixels)
    picture.save(tmp_path / "page.png")
    larger = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)
    for image in (page.pixels, picture, picture.convert("RGB"), tmp_path / "page.png", larger):
        np.testing.assert_allclose(
            encoder.encode_images([image])[0], encoder.encode(text), atol=1e-4
        )
    vectors = encoder.encode_pages([[page.pixels, page.pixels]])
    assert vectors[0] @ encoder.encode(text) > 0.9


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_is_the_same_page(mode: str) -> None:
    page = printed(LINES)
    if mode == "I;16":
        other = Image.fromarray(np.asarray(page).astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        other = Image.new(mode, page.size, (0,) * len(mode))
        other.putalpha(page.point([255 - value for value in range(256)]))
    else:
        other = page.convert(mode)
    grey = np.asarray(sheet(other, "page"), float)
    wanted = np.asarray(page.convert("1").convert("L") if mode == "1" else page, float)
    assert np.abs(grey - wanted).max() <= 2


def test_turned_photographs_are_put_upright(tmp_path: Path) -> None:
    page = printed(LINES).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    page.rotate(90, expand=True).save(tmp_path / "page.jpg", exif=exif, quality=95)
    found = np.asarray(sheet(tmp_path / "page.jpg", "page"), float)
    assert found.shape == (460, 620)
    assert np.abs(found - np.asarray(page.convert("L"), float)).mean() < 2


@pytest.mark.parametrize(
    "array",
    [
        np.full((300, 300), 255, np.uint8),
        np.zeros((300, 300), np.uint8),
        np.full((1, 1), 7, np.uint8),
        np.random.default_rng(0).integers(0, 255, (400, 300), dtype=np.uint8),
        np.indices((500, 400)).sum(0).astype(np.uint8),
    ],
)
def test_what_shows_no_text_is_no_page(encoder: OpticalEncoder, array: np.ndarray) -> None:
    assert encoder.read([array])[0].text == ""
    with pytest.raises(UnreadablePageError, match=r"images\[0\] \(\d+×\d+ px\) is blank or"):
        encoder.encode_images([array])
    with pytest.raises(UnreadablePageError, match=r"documents\[1\] \(2 pages\) is blank or"):
        encoder.encode_pages([[printed(LINES)], [array, array]])


def test_files_that_are_no_page_are_named(encoder: OpticalEncoder, tmp_path: Path) -> None:
    page = printed(LINES)
    page.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    page.save(tmp_path / "moves.gif", save_all=True, append_images=[printed(OTHER)])
    for name in ("cut.png", "text.png", "empty.png", "missing.png"):
        with pytest.raises(InvalidInputError, match=rf"images\[0\] is .*{name}.*cannot be read"):
            encoder.encode_images([tmp_path / name])
    with pytest.raises(InvalidInputError, match="2 frames, expected one page"):
        encoder.encode_images([tmp_path / "moves.gif"])
    with pytest.raises(InvalidInputError, match=r"documents\[0\] is .*expected a list of its"):
        encoder.encode_pages([page])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match=r"documents\[0\] has no page"):
        encoder.encode_pages([[]])


def test_huge_pictures_are_scaled_down(tmp_path: Path) -> None:
    Image.new("1", (20_000, 12_000), 1).save(tmp_path / "huge.png")
    found = sheet(tmp_path / "huge.png", "page")
    assert max(found.size) <= LONGEST_SIDE
    assert found.getextrema() == (255, 255)


def test_boxes_of_light_letters_are_read_in_their_place(encoder: OpticalEncoder) -> None:
    page = printed(LINES)
    draw = ImageDraw.Draw(page)
    draw.rectangle((30, 300, 600, 440), fill=40)
    font = ImageFont.load_default(26)
    for row, line in enumerate(OTHER[:3]):
        draw.text((60, 315 + 40 * row), line, font=font, fill=245)
    (reading,) = encoder.read([page])
    assert share_of_words(reading.text, LINES) >= 0.85
    assert share_of_words(reading.text, OTHER[:3]) >= 0.85


def test_tables_are_read_with_and_without_rules(encoder: OpticalEncoder) -> None:
    rows = [("Element", "Melting"), ("Iron", "1538"), ("Copper", "1085"), ("Nickel", "1455")]
    font = ImageFont.load_default(26)
    for ruled in (False, True):
        page = Image.new("L", (620, 320), 255)
        draw = ImageDraw.Draw(page)
        for place, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                x, y = 60 + 250 * column, 50 + 60 * place
                draw.text((x, y), cell, font=font, fill=0)
                if ruled:
                    draw.rectangle((x - 15, y - 15, x + 235, y + 45), outline=0, width=2)
        (reading,) = encoder.read([page])
        assert share_of_words(reading.text, tuple(map(" ".join, rows))) >= 0.85, ruled


def test_pictures_and_stains_are_no_text(encoder: OpticalEncoder) -> None:
    rng = np.random.default_rng(1)
    waves = 128 + 90 * np.sin(np.indices((700, 900)).sum(0) / 60) + rng.normal(0, 6, (700, 900))
    stained = Image.new("L", (900, 1200), 240)
    draw = ImageDraw.Draw(stained)
    draw.rectangle((0, 0, 14, 1200), fill=30)  # the edge of the lid
    draw.ellipse((40, 300, 70, 330), outline=90, width=5)  # a punch hole
    for x, y, size in zip(*rng.integers(30, 850, (2, 20)), rng.integers(1, 5, 20), strict=True):
        draw.ellipse((x, y, x + size, y + size), fill=60)
    drawing = Image.new("L", (900, 700), 255)
    draw = ImageDraw.Draw(drawing)
    for x, y, dx, dy in rng.integers(-200, 900, (40, 4)):
        draw.line((x, y, dx, dy), fill=0, width=2)
    for page in (waves.clip(0, 255).astype(np.uint8), stained, drawing):
        assert encoder.read([page])[0].words == ()


@pytest.mark.parametrize("seed", range(4))
def test_a_scan_with_one_line_is_read(encoder: OpticalEncoder, seed: int) -> None:
    rng = np.random.default_rng(seed)
    page = Image.new("L", (1000, 1400), 255)
    draw = ImageDraw.Draw(page)
    draw.text((90, 120), "Proposal for a tunnel", font=ImageFont.load_default(28), fill=0)
    grey = np.asarray(page.filter(ImageFilter.GaussianBlur(0.6)), float) * 0.8 + 40
    grey += rng.normal(0, 5, grey.shape)
    scan = grey.clip(0, 255).astype(np.uint8)
    for picture in (scan, 255 - scan):
        assert share_of_words(encoder.read([picture])[0].text, ("Proposal for a tunnel",)) >= 0.75
