"""Lines that come again in a call are read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from energy_plugin.optical import OpticalEncoder
from energy_plugin.optical.network.lines import LineStem
from energy_plugin.optical.network.window_cache import WindowCache


def batch(names: list[int], triples: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Lines of a batch, each all of one grey, and windows of them."""
    lines = torch.tensor(names, dtype=torch.uint8)[:, None, None].expand(-1, 16, 64)
    return lines, torch.tensor(triples)


class Reading:
    """Tokens that say what the window shows, and how many were asked for."""

    def __init__(self, lines: torch.Tensor) -> None:
        self.greys = lines[:, 0, 0].float()
        self.asked = 0

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.asked += len(windows)
        return self.greys[windows]


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_windows_are_known_by_what_they_show(limit: int) -> None:
    cache = WindowCache(limit)
    batches = [
        batch([9, 7, 5], [[0, 1, 2], [2, 1, 0], [0, 0, 0]]),
        batch([5, 9, 7], [[1, 2, 0], [0, 0, 0], [1, 1, 1]]),  # the first and the last came before
        batch([7, 5], [[1, 1, 1], [0, 1, 0]]),
    ]
    asked = []
    for lines, windows in batches:
        reading = Reading(lines)
        found = cache.tokens(lines, windows, reading)
        assert torch.equal(found, reading.greys[windows])
        asked.append(reading.asked)
        assert len(cache) <= limit
    if limit == 100:
        assert asked == [3, 1, 1]
    if limit == 0:
        assert asked == [3, 3, 2]


def test_more_lines_than_there_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("energy_plugin.optical.network.window_cache._SPAN", 2)
    cache = WindowCache()
    for names in ([9, 7, 5], [5, 7, 9]):
        lines, windows = batch(names, [[0, 1, 2], [1, 1, 1], [2, 2, 1]])
        reading = Reading(lines)
        assert torch.equal(cache.tokens(lines, windows, reading), reading.greys[windows])


def test_a_call_reads_each_word_once(
    small_encoder: OpticalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"the same words {number} and again the same words" for number in range(40)]
    read: list[int] = []
    forward = LineStem.forward

    def watched(self: LineStem, lines: Any, windows: torch.Tensor) -> torch.Tensor:
        read.append(len(windows))
        return forward(self, lines, windows)

    monkeypatch.setattr(LineStem, "forward", watched)
    vectors = small_encoder.encode(texts, batch_size=4)
    assert len(read) == 10
    assert read[0] > 5
    assert sum(read[1:]) <= 40  # of the other batches, their numbers
    alone = np.stack([small_encoder.encode(text) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
