"""The page layout: columns, breaks, scripts, pixels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.typesetting import font
from energy_plugin.optical.typesetting.page import PAGE_VERSION, PageTypesetter, shown

NARROW = PageTypesetter(64)  # 8 cells, 4 lines


def _lines(text: str, setter: PageTypesetter = NARROW) -> list[str]:
    return ["".join(glyph.text for glyph in line) for line in setter.lines(text)]


# Pixels of version 1: they may change only together with PAGE_VERSION.
_GOLDEN = {
    "english": ("The quick brown fox jumps over the lazy dog. " * 12, "006ede0a2011fcf1"),
    "code": ("def f(x):\n\tif x:\n\t\treturn x\n\n\treturn\t0  # a\tb\n", "85d51398359233b2"),
    "cjk": (
        "光学的圧縮は文脈を少数の視覚トークンに写す。漢字とかな、한국어도.",
        "f1fa1d3c076f3a93",
    ),
    "cyrillic, greek": (
        "Съешь же ещё этих мягких булок. Ξεσκεπάζω τὴν ψυχοφθόρα",
        "f097f36159f985f9",
    ),
    "arabic, hebrew": ("abc שלום עולם 123 السلام عليكم xyz", "89497caed73c1f01"),
    "marks, emoji": ("naïve e\u0301a\u0308 Z\u0351\u036b\u0343 ñ 🙂 \u200bx", "a871454199075e2c"),
    "controls": ("a\x00b\x07c\x1bd\x7fe\x9ff \ud800 g", "f267a09e143d567b"),
}


@pytest.mark.parametrize("name", _GOLDEN)
def test_pixels_of_the_page_layout(name):
    text, wanted = _GOLDEN[name]
    assert PAGE_VERSION == 1
    pages = PageTypesetter(512).pages(text)
    assert hashlib.sha256(np.stack(pages).tobytes()).hexdigest()[:16] == wanted


def test_columns_of_code_and_tables_stay():
    assert _lines("a\tb\nab\tc", PageTypesetter(128)) == ["a       b", "ab      c"]
    assert _lines("  if x:\n    y\r\n\r\nz\x85w") == ["  if x:", "    y", "", "z", "w"]


def test_lines_break_at_spaces_and_beside_wide_characters():
    assert _lines("one two three") == ["one two", "three"]
    assert _lines("abcdefghijkl mn") == ["abcdefgh", "ijkl mn"]
    assert _lines("漢字かな交じ文") == ["漢字かな", "交じ文"]
    assert _lines("a漢字かな") == ["a漢字か", "な"]
    assert _lines("12345678 90") == ["12345678", "90"]


def test_right_to_left_runs_are_turned_and_numbers_are_not():
    wide = PageTypesetter(512)
    assert _lines("ab שלום עולם cd", wide) == ["ab םלוע םולש cd"]
    assert _lines("שלום 123 x", wide) == ["םולש 123 x"]


def test_what_cannot_be_seen_has_a_picture_or_no_place():
    assert shown("a\x00b\x7f\ud800\u200b\ufeffc\u00a0d\x9f") == "a␀b␡\ufffdc d\ufffd"
    (line,) = NARROW.lines("e\u0301x\u0301\u0308y")
    assert [glyph.text for glyph in line] == ["é", "x\u0301\u0308", "y"]
    one, two = NARROW.pages("x"), NARROW.pages("x\u0301")
    assert ((one[0] == 0) <= (two[0] == 0)).all()  # the mark is ink upon the letter
    assert (one[0] != two[0]).any()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_nothing_is_cut_and_nothing_overflows(text):
    setter = PageTypesetter(64)
    lines = setter.lines(text)
    assert all(sum(glyph.cells for glyph in line) <= setter.columns for line in lines)
    # Every character that shows is on a line.
    wanted = sorted(c for c in shown(text.replace("\t", " ")) if c not in " \u2400")
    got = sorted(c for line in lines for glyph in line for c in glyph.text if c not in " \u2400")
    breaks = "\u2409\u240a\u240b\u240c\u240d\u241c\u241d\u241e\ufffd"
    assert [c for c in got if c not in breaks] == [
        c for c in wanted if c not in breaks and c not in "\u2028\u2029"
    ]
    pages = setter.pages(text)
    assert len(pages) == -(-len(lines) // setter.rows)
    assert all(set(np.unique(page)) <= {0, 255} for page in pages)


def test_a_page_is_as_wide_as_its_mode():
    for side in (512, 640, 1024, 1280):
        setter = PageTypesetter(side)
        full = "\n".join(["x" * setter.columns] * setter.rows)
        (page,) = setter.pages(full)
        assert page.shape == (side, side)
        assert (page[-font.CELL_HEIGHT :, -font.CELL_WIDTH :] == 0).any()
        assert len(setter.pages(full + "\ny")) == 2
    with pytest.raises(InvalidInputError, match="a multiple of 64"):
        PageTypesetter(100)
