"""Answers of the recogniser to characters: the best answer at each place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_plugin.optical.printed.alphabet import BLANK, CHARACTERS, decoded

_NARROW = " !'()*,-./:;I[]`fijlrt|¡¦·ìíîïıłťĪī‘’‚‹›“”1"
_WIDE = np.array([False, *(character not in _NARROW for character in CHARACTERS)])
_TOO_NEAR = 2  # answers: two wide letters of a kind stand further apart


@dataclass(frozen=True)
class Characters:
    """Characters of a strip.

    Attributes
    ----------
    text : str
    places : tuple of int
        Answer at which each character stands.
    certainties : tuple of float
        Probability of each.
    """

    text: str
    places: tuple[int, ...]
    certainties: tuple[float, ...]


def best(logits: Tensor, answers: list[int]) -> list[Characters]:
    """Most probable characters of strips.

    Parameters
    ----------
    logits : Tensor of shape (B, T, C)
    answers : list of int
        Answers of each strip that are not filling.
    """
    codes = logits.argmax(dim=2).cpu().numpy()
    rows, places = np.nonzero(codes != BLANK)
    said = logits[torch.from_numpy(rows), torch.from_numpy(places)].float()
    certain = np.zeros(codes.shape, np.float32)
    certain[rows, places] = said.softmax(dim=1).amax(dim=1).cpu().numpy()
    return [
        _collapsed(codes[row, :count], certain[row, :count]) for row, count in enumerate(answers)
    ]


def _collapsed(codes: NDArray[np.int64], certain: NDArray[np.float32]) -> Characters:
    """Repeated answers are one character, unless a blank stands between them."""
    starts = np.flatnonzero((codes != BLANK) & (codes != np.concatenate([[BLANK], codes[:-1]])))
    if not len(starts):
        return Characters("", (), ())
    said, sure = codes[starts], np.maximum.reduceat(certain, starts)
    near = (said[1:] == said[:-1]) & (np.diff(starts) <= _TOO_NEAR)
    once = sure[1:] + sure[:-1] - 2 * sure[1:] * sure[:-1]  # at one of the places, not at both
    twice = near & (_WIDE[said[1:]] | (once > sure[1:] * sure[:-1]))
    starts = starts[np.concatenate([[True], ~twice])]
    return Characters(
        "".join(decoded(int(code)) for code in codes[starts]),
        tuple(starts.tolist()),
        tuple(np.maximum.reduceat(certain, starts).tolist()),
    )
