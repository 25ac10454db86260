from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import Typesetter
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.tiles import CONTINUATION, LINE_CELLS, break_word, cut_tiles

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=40
)


def test_bitmap_is_the_fonts_own() -> None:
    # The letter l of Unifont, read off the font's chart.
    rows = ["".join(map(str, row)) for row in font.bitmap("l")]
    assert rows[3:14] == ["00011000", *["00001000"] * 9, "00111110"]


def test_cjk_is_two_cells_wide() -> None:
    assert font.cells("漢") == 2
    assert font.bitmap("漢").shape == (16, 16)
    assert font.cells("é") == font.cells("я") == 1


def test_lines_of_words() -> None:
    setter = Typesetter()
    assert setter.lines("read a csv") == ["read", "a", "csv"]
    assert setter.lines("aerodynamics") == ["aerodyna", "¬mics"]
    assert setter.lines("cross-validation") == ["cross-", "validati", "¬on"]
    assert setter.lines("os.path.join(x)") == ["os.path.", "join(x)"]
    assert setter.lines("learning,") == ["learning", ","]
    assert setter.lines("漢字漢字漢") == ["漢字漢字", "¬漢"]


@given(WORDS)
def test_breaking_loses_nothing_and_overflows_nothing(word: str) -> None:
    lines = break_word(word)
    assert all(sum(map(font.cells, line)) <= LINE_CELLS for line in lines)
    marks = sum(line[0] == CONTINUATION and len(line) > 1 for line in lines[1:])
    rejoined = lines[0] + "".join(lines[1:])
    assert rejoined.replace(CONTINUATION, "") == word.replace(CONTINUATION, "")
    assert len(rejoined) <= len(word) + marks


def test_tile_is_four_lines_of_eight_cells() -> None:
    setter = Typesetter()
    tiles = setter.tiles("one two three four five")
    assert tiles.shape == (2, 64, 64)
    assert tiles.dtype == np.uint8
    assert set(np.unique(tiles)) == {0, 255}
    np.testing.assert_array_equal(tiles[0, 16:32] == 0, setter.ink("two") == 1)
    assert (tiles[1, 16:] == 255).all()


def test_pages_hold_every_tile_in_reading_order() -> None:
    setter = Typesetter(page_tiles=2)
    text = " ".join(f"word{n}" for n in range(41))  # 41 lines, 11 tiles, 3 pages
    pages = setter.pages(text)
    assert [page.n_tiles for page in pages] == [4, 4, 3]
    assert [page.pixels.shape for page in pages] == [(128, 128)] * 3
    cut = np.concatenate([cut_tiles(page.pixels)[: page.n_tiles] for page in pages])
    np.testing.assert_array_equal(cut, setter.tiles(text))


def test_a_short_query_is_one_tile() -> None:
    (page,) = Typesetter().pages("read a csv file")
    assert page.pixels.shape == (64, 64)


def test_golden_page() -> None:
    """The same text gives the same pixels on every machine and in every release."""
    (page,) = Typesetter().pages("Naïve Bayes: P(A|B) ≥ 0.5, 漢字 и кириллица, x_i = 3.14159265")
    digest = hashlib.blake2b(page.pixels.tobytes(), digest_size=8).hexdigest()
    assert (page.pixels.shape, digest) == ((64, 256), "2043d9c0983bca44")


def test_page_that_is_no_multiple_of_a_tile_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="multiples of 64"):
        cut_tiles(np.zeros((64, 65), np.uint8))
