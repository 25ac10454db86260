"""Modes: the published token counts, tiles, preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.modes import MODES, as_mode, tile_grid
from energy_plugin.optical.views import views_of_image


def test_published_counts():
    counts = {name: MODES[name].tokens() for name in ("tiny", "small", "base", "large", "gundam")}
    assert counts == {"tiny": 73, "small": 111, "base": 273, "large": 421, "gundam": 273}
    contents = [MODES[name].content_tokens() for name in ("tiny", "small", "base", "large")]
    assert contents == [64, 100, 256, 400]
    gundam = MODES["gundam"]
    published = {(2, 2): 693, (3, 2): 893, (2, 3): 903, (4, 1): 683, (1, 4): 713, (6, 1): 883}
    for (columns, rows), tokens in published.items():
        assert gundam.tokens(columns, rows) == tokens == 273 + 10 * rows * (10 * columns + 1)


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        ((640, 640), 9, (1, 1)),
        ((641, 10), 9, (9, 1)),
        ((1000, 1000), 9, (2, 2)),  # 3×3 has more than twice its pixels
        ((2000, 2000), 9, (3, 3)),
        ((2000, 2000), 6, (2, 2)),
        ((1240, 1754), 9, (2, 3)),  # A4 at 150 dpi
        ((3000, 1000), 9, (3, 1)),
        ((1, 100000), 9, (1, 9)),
    ],
)
def test_tiles_are_the_published_choice(size, most, grid):
    assert tile_grid(*size, max_tiles=most) == grid


def _picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_preprocessing_as_published():
    picture = _picture(300, 200)
    (tiny,), _ = views_of_image(picture, MODES["tiny"])
    squashed = np.asarray(picture.resize((512, 512), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(tiny.pixels, squashed)
    (base,), _ = views_of_image(picture, MODES["base"])
    padded = ImageOps.pad(
        picture, (1024, 1024), method=Image.Resampling.BICUBIC, color=(127, 127, 127)
    )
    np.testing.assert_array_equal(base.pixels, np.asarray(padded))
    rows = base.content.reshape(16, 16)
    assert not rows[:2].any()  # grey filling, (1024 − 683) / 2 = 170 px, shows nothing
    assert rows[3:13].all()
    assert not rows[14:].any()


def test_gundam_is_tiles_and_a_global_view():
    picture = _picture(1300, 900)
    views, grid = views_of_image(picture, MODES["gundam"])
    assert grid == tile_grid(1300, 900)
    assert [view.side for view in views] == [640] * (grid[0] * grid[1]) + [1024]
    whole = np.asarray(picture.resize((640 * grid[0], 640 * grid[1]), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(views[1].pixels, whole[:640, 640:1280])
    small, grid = views_of_image(_picture(600, 640), MODES["gundam"])
    assert grid == (1, 1)
    assert [view.side for view in small] == [1024]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_mode("huge"), "mode is 'huge', expected one of"),
        (lambda: as_mode(None), "mode is None"),
        (lambda: MODES["base"].tokens(2, 1), "'base' has no tiles"),
        (lambda: MODES["gundam"].tokens(0, 1), "expected at least 1"),
        (lambda: tile_grid(0, 5), "no pixels"),
        (lambda: views_of_image(Image.new("RGB", (0, 5)), MODES["tiny"]), r"images\[0\] has"),
        (lambda: views_of_image(Image.new("L", (1, 1), 255), MODES["tiny"]), "is blank"),
        (lambda: views_of_image(np.empty((0, 0), np.uint8), MODES["tiny"]), r"shape \(0, 0\)"),
    ],
)
def test_bad_modes_and_images_are_named(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_one_black_pixel_is_an_image():
    (view,), _ = views_of_image(Image.new("L", (1, 1), 0), MODES["tiny"])
    assert view.content.all()
