"""Characters that the font lacks are spelled, so that they differ and mean something."""

import numpy as np
import pytest

from energy_plugin import OpticalEncoder
from energy_plugin.optical.typesetting.spelling import spelled
from energy_plugin.optical.typesetting.tiles import Typesetter

EMOJI = ["🍞", "🚗", "🎂", "😀", "🇫🇷", "👩🏽\u200d🔬"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I love 🍞!", ["I", "love", "bread", "!"]),
        ("👩🏽\u200d🔬", ["woman", "microscope"]),
        ("🇫🇷🇩🇪", ["FR", "DE"]),
        ("𝐁𝐨𝐥𝐝 text", ["Bold", "text"]),
        ("❤️ क्\u200dष 🙂", ["❤️", "क्\u200dष", "slightly", "smiling", "face"]),
        ("𠀀 \U0010fffd", ["𠀀", "\U0010fffd"]),
    ],
)
def test_spelled(text, words):
    assert spelled(text).split() == words


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 日本 ❤️ क्\u200dष"])
def test_text_of_the_font_is_left_as_it_is(text):
    assert spelled(text) is text


def test_they_are_set_as_their_names():
    setter = Typesetter()
    assert np.array_equal(setter.tiles("a 🍞"), setter.tiles("a bread"))


def test_each_has_its_own_vector_near_its_meaning():
    encoder = OpticalEncoder.from_pretrained("compact")
    vectors = encoder.encode_document(EMOJI)
    assert (vectors @ vectors.T - np.eye(len(EMOJI)) < 0.9).all()
    words = encoder.encode_document(["a loaf of bread", "a car", "a birthday cake", "a happy face"])
    assert (np.argmax(vectors[:4] @ words.T, axis=1) == np.arange(4)).all()
