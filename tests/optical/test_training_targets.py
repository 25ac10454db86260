"""What a training run is shown: targets of lines, disturbed words, drawn glyphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import Typesetter
from energy_plugin.optical.training.glyphs import GlyphSheet
from energy_plugin.optical.training.noise import NOISES, noisy_text, noisy_words
from energy_plugin.optical.training.shards import tile_targets
from energy_plugin.optical.training.teacher import Reading

LINES = [
    "Bread is baked from flour, water and yeast.",
    "The dough rests for an hour before it goes into the oven.",
    "Aerodynamics describes the flow of air around a wing.",
]


def test_tile_targets_average_the_pieces_of_their_lines() -> None:
    hidden = np.arange(12, dtype=np.float16).reshape(6, 2)
    reading = Reading(hidden, np.array([0, 1, 1, 1, 2, 3]), np.zeros(2, np.float16))
    # Lines: word 0 | word 1, two lines | word 2 || word 3 in the second tile.
    targets, counts = tile_targets([reading], [[1, 2, 1, 1]], torch.device("cpu"))
    np.testing.assert_array_equal(counts, [5, 1])
    np.testing.assert_allclose(targets, [hidden[:5].mean(0), hidden[5]])
    # A second text begins a tile of its own.
    twice, counts = tile_targets([reading] * 2, [[1, 2, 1, 1], [1, 1, 1, 1]], torch.device("cpu"))
    np.testing.assert_array_equal(counts, [5, 1, 6])
    np.testing.assert_allclose(twice[2], hidden.mean(0))


def test_a_missing_space_joins_the_pieces_of_its_words() -> None:
    hidden = np.arange(12, dtype=np.float16).reshape(6, 2)
    reading = Reading(hidden, np.array([0, 1, 1, 1, 2, 3]), np.zeros(2, np.float16))
    joined = reading.joined([1, 2, 1])
    np.testing.assert_array_equal(joined.word_of_piece, [0, 1, 1, 1, 1, 2])


@pytest.mark.parametrize("kind", NOISES)
def test_noise_stands_for_every_clean_word(kind: str) -> None:
    words = " ".join(LINES).split()
    noisy = noisy_words(words, kind, 0.5, np.random.default_rng(0))
    assert sum(word.clean for word in noisy) == len(words)
    assert not any(character.isspace() for word in noisy for character in word.text)
    text = noisy_text(LINES[2], kind, 1.0, seed=3)
    assert text != LINES[2]
    assert text == noisy_text(LINES[2], kind, 1.0, seed=3)
    assert noisy_text(LINES[2], kind, 0.0, seed=3) == LINES[2]


def test_bad_noise_is_named() -> None:
    with pytest.raises(InvalidInputError, match="noise is 'rain'"):
        noisy_text("text", "rain", 0.5, seed=0)
    with pytest.raises(InvalidInputError, match=r"share is 1\.5"):
        noisy_text("text", "ocr", 1.5, seed=0)


def test_glyph_sheets_draw_what_the_typesetter_draws() -> None:
    typesetter = Typesetter()
    lines = ["", "wing", "¬ed", "水道", "naïve", "a"]
    images = GlyphSheet.of(lines).images(torch.tensor([1, 0, 3, 2, 4, 5]))
    for image, row in zip(images, [1, 0, 3, 2, 4, 5], strict=True):
        np.testing.assert_array_equal(image, (1 - typesetter.ink(lines[row])) * 255)
