"""Sentence pairs and the rank correlation."""

from __future__ import annotations

import numpy as np
import pytest

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation import load_pairs, spearman
from energy_plugin.evaluation.sts import pair_similarity


def test_both_layouts(tmp_path):
    with_header = tmp_path / "dev.tsv"
    with_header.write_text(
        'score\tsentence1\tsentence2\tgenre\n5.0\tA "man\tA man\tx\n0.5\tdog\tcat\tx\n'
    )
    pairs = load_pairs(with_header)
    assert pairs.first == ('A "man', "dog")
    assert pairs.second == ("A man", "cat")
    np.testing.assert_array_equal(pairs.scores, [5.0, 0.5])
    for name, identifier in (("with-id", "0007\t"), ("without-id", "")):
        path = tmp_path / name
        path.write_text(
            f'captions\tMSRvid\t2012\t{identifier}5.0\tA "man\tA man\n'
            f"captions\tMSRvid\t2012\t{identifier}0.5\tdog\tcat\tsome licence\n"
        )
        again = load_pairs(path)
        assert (again.first, again.second) == (pairs.first, pairs.second)
        np.testing.assert_array_equal(again.scores, pairs.scores)


@pytest.mark.parametrize("content", ["", "score\tsentence1\tsentence2\n1\ta\tb\n", "a\tb\nc\td\n"])
def test_unusable_files(tmp_path, content):
    path = tmp_path / "pairs.tsv"
    path.write_text(content)
    with pytest.raises(InvalidInputError):
        load_pairs(path)
    path.write_bytes("score\tsentence1\tsentence2\n5\tcaf\xe9\tb\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match="line 2: byte 5 is 0xe9, expected UTF-8"):
        load_pairs(path)
    with pytest.raises(InvalidInputError, match="does not exist"):
        load_pairs(tmp_path / "none.tsv")


def test_spearman_with_ties_by_hand():
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: Pearson of the ranks = 4.5 / sqrt(4.5 * 5)
    assert spearman([0.1, 0.4, 0.4, 0.9], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(22.5))


def test_pair_similarity_ignores_length():
    first, second = np.array([[3, 0], [0, 2], [0, 0]]), np.array([[1, 0], [1, 1], [1, 0]])
    np.testing.assert_allclose(pair_similarity(first, second), [1, np.sqrt(0.5), 0], rtol=1e-6)


def test_pairs_as_pictures(tmp_path):
    from PIL import ImageFont

    from energy_plugin.evaluation.sts_images import picture_vectors, pictures
    from energy_plugin.optical import load_encoder

    font = tmp_path / "font.ttf"
    font.write_bytes(ImageFont.load_default(20).font_bytes)
    texts = ["A man is playing a guitar.", "A woman is cutting some bread", "The dog runs home"]
    (page, *_) = pictures(texts, [font], 22)
    assert page.size[0] == 24 * 22
    assert page.getextrema() == (0, 255)
    encoder = load_encoder("compact", device="cpu")
    vectors, unread = picture_vectors(encoder, [*texts[:3], "."], [font], 22)
    assert unread == 1
    assert pair_similarity(vectors[:3], encoder.encode(texts[:3])).min() > 0.85
    with pytest.raises(InvalidInputError, match="cannot all be read as fonts"):
        pictures(texts, [tmp_path / "missing.ttf"], 22)
    with pytest.raises(InvalidInputError, match="no font is named"):
        pictures(texts, [], 22)
