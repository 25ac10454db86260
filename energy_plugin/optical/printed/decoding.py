"""Answers of the recogniser to characters: the best answer at each place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from energy_plugin.optical.printed.alphabet import BLANK, decoded


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
    top, code = logits.max(dim=2)
    sure = torch.exp(top - logits.logsumexp(dim=2)).cpu().numpy()
    codes = code.cpu().numpy()
    out = []
    for row, count in enumerate(answers):
        said = codes[row, :count]
        starts = np.flatnonzero((said != BLANK) & (said != np.concatenate([[BLANK], said[:-1]])))
        ends = np.append(starts, count)[1:]
        sureness = []
        for start, end in zip(starts, ends, strict=True):
            same = said[start:end] == said[start]
            run = int(np.argmin(same)) if not same.all() else end - start
            sureness.append(float(sure[row, start : start + run].max()))
        out.append(
            Characters(
                "".join(decoded(int(each)) for each in said[starts]),
                tuple(map(int, starts)),
                tuple(sureness),
            )
        )
    return out
