"""Windows of lines: the lines of one word are read together, others by themselves."""

from __future__ import annotations

import torch

from energy_plugin.optical import OpticalEncoder, Typesetter
from energy_plugin.optical.network.lines import Glossary, continues, windows


def greys(lines: list[str]) -> torch.Tensor:
    typesetter = Typesetter()
    return torch.stack([torch.from_numpy((1 - typesetter.ink(line)) * 255) for line in lines])


def test_a_word_is_read_with_its_own_lines_only() -> None:
    lines = ["the", "aerodyna", "¬mics", "of", ""]
    drawn = greys(lines)
    assert continues(drawn).tolist() == [False, False, True, False, False]
    tiles = torch.tensor([[0, 1, 2, 3], [0, 4, 4, 4]])
    found, places = windows(drawn, tiles, torch.tensor([2]))
    read = [[lines[line] for line in found[place]] for place in places.flatten().tolist()]
    blank = ["", "", ""]
    assert read == [
        *(["", "the", ""], ["", "aerodyna", "¬mics"], ["aerodyna", "¬mics", ""], ["", "of", ""]),
        *(["", "the", ""], blank, blank, blank),
    ]
    assert len(found) == 5  # equal windows are read once


def test_a_word_ends_with_its_page() -> None:
    lines = ["aerodyna", "¬mics", ""]
    tiles = torch.tensor([[2, 2, 2, 0], [1, 2, 2, 2]])
    together, place = windows(greys(lines), tiles, torch.tensor([2]))
    assert together[place[0, 3]].tolist() == [2, 0, 1]
    assert together[place[1, 0]].tolist() == [0, 1, 2]
    apart, place = windows(greys(lines), tiles, torch.tensor([1, 1]))
    assert apart[place[0, 3]].tolist() == [2, 0, 2]
    assert apart[place[1, 0]].tolist() == [2, 1, 2]


def test_a_key_that_fits_gives_its_value() -> None:
    glossary = Glossary(reading=4, slots=3, width=2)
    with torch.no_grad():
        glossary.keys.weight.copy_(20 * torch.eye(3, 4))
        glossary.keys.bias.zero_()
    read = glossary(torch.eye(4)[:3])
    torch.testing.assert_close(read, glossary.values.weight, atol=1e-5, rtol=1e-5)
    even = glossary(torch.zeros(1, 4))  # no key fits better: the mean of all
    torch.testing.assert_close(even[0], glossary.values.weight.mean(0))


def test_vectors_do_not_depend_on_the_batch(small_encoder: OpticalEncoder) -> None:
    texts = ["aerodynamics of a compressible flow", "flow", "a much longer text " * 9]
    together = small_encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        assert abs(small_encoder.encode(text) - vector).max() < 1e-5
