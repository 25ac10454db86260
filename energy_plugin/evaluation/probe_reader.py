"""A small reader of vectors: which words of a vocabulary stand in each.

One linear layer on standardised vectors, trained by binary cross-entropy of every word.
It starts as the frequencies of the words, which is also what it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from energy_plugin.neutral import neutral

BATCH = 512


@dataclass(frozen=True)
class Spans:
    """Vectors, each of one span of text, and the words that stand there.

    Attributes
    ----------
    vectors : ndarray of shape (n, d), float16
    words : ndarray of shape (m,), int64
        Numbers of the distinct vocabulary words of each span, span after span.
    first : ndarray of shape (n + 1,), int64
        Where the words of each span begin.
    """

    vectors: NDArray[np.float16]
    words: NDArray[np.int64]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def joined(cls, parts: Sequence[Spans]) -> Spans:
        """Several sets as one."""
        counts = np.concatenate([np.diff(part.first) for part in parts])
        return cls(
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.words for part in parts]),
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def targets(self, rows: NDArray[np.int64], vocabulary: int) -> Tensor:
        """Which words stand in some spans, (len(rows), vocabulary) of zeros and ones."""
        made = torch.zeros(len(rows), vocabulary)
        made[self.places(rows)] = 1
        return made

    def places(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Row and column of each word of some spans in their matrix of zeros and ones."""
        counts = np.diff(self.first)[rows]
        row = np.repeat(np.arange(len(rows)), counts)
        ahead = np.cumsum(counts) - counts
        words = self.words[np.arange(len(row)) + (self.first[rows] - ahead)[row]]
        return torch.from_numpy(row), torch.from_numpy(words)


def frequencies(spans: Spans, vocabulary: int) -> Tensor:
    """Share of the spans that hold each word, (vocabulary,); one span more than counted."""
    counts = np.bincount(spans.words, minlength=vocabulary)
    return torch.from_numpy((counts + 1.0) / (len(spans) + 2.0)).float()


class WordReader(nn.Module):
    """The linear layer, with the mean and spread of the vectors that it was trained on."""

    mean: Tensor
    spread: Tensor

    def __init__(self, spans: Spans, vocabulary: int) -> None:
        super().__init__()
        vectors = torch.from_numpy(spans.vectors).float()
        self.register_buffer("mean", vectors.mean(0))
        self.register_buffer("spread", vectors.std(0).clamp_min(1e-6))
        self.linear = nn.Linear(vectors.shape[1], vocabulary)
        nn.init.zeros_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(torch.logit(frequencies(spans, vocabulary)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (n, d) to a score for each word, (n, vocabulary)."""
        scores: Tensor = self.linear(self.standard(vectors))
        return scores

    def standard(self, vectors: Tensor) -> Tensor:
        """Vectors of mean zero and spread one, as those of the training are."""
        return (vectors - self.mean) / self.spread


def train_reader(
    spans: Spans,
    vocabulary: int,
    *,
    epochs: int,
    rate: float = 3e-3,
    seed: int = 0,
    show_progress_bar: bool = False,
) -> WordReader:
    """Train a reader by Adam, the rate falling along a cosine to zero.

    Parameters
    ----------
    spans : Spans
    vocabulary : int
        Words.
    epochs : int
    rate : float, default=3e-3
        Highest learning rate.
    seed : int, default=0
        Of the order of the spans.
    show_progress_bar : bool, default=False
    """
    with neutral():
        reader = WordReader(spans, vocabulary)
        weight, bias = reader.linear.weight, reader.linear.bias
        optimiser = torch.optim.Adam(reader.parameters(), lr=rate)
        steps = epochs * -(-len(spans) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
        rng = np.random.default_rng(seed)
        vectors = reader.standard(torch.from_numpy(spans.vectors).float())
        with tqdm(total=steps, desc="Reader", unit="step", disable=not show_progress_bar) as bar:
            for _ in range(epochs):
                order = rng.permutation(len(spans))
                for start in range(0, len(order), BATCH):
                    rows = order[start : start + BATCH]
                    some = vectors[rows]
                    wrong = reader.linear(some).sigmoid_()
                    wrong[spans.places(rows)] -= 1  # the gradient of the cross-entropy
                    weight.grad, bias.grad = wrong.T @ some / len(rows), wrong.mean(0)
                    optimiser.step()
                    schedule.step()
                    bar.update()
        return reader.requires_grad_(False).eval()


def precision(reader: WordReader | Tensor, spans: Spans, vocabulary: int) -> float:
    """Share of the words of the spans that are named when each names as many as it holds.

    Precision at the true number of words, over all spans together; recall is the same there.

    Parameters
    ----------
    reader : WordReader or Tensor of shape (vocabulary,)
        A tensor scores the words alike for every span.
    spans : Spans
    vocabulary : int
    """
    found = 0
    counts = np.diff(spans.first)
    most = int(counts.max(initial=0))
    with neutral():
        for start in range(0, len(spans), BATCH):
            rows = np.arange(start, min(start + BATCH, len(spans)))
            if isinstance(reader, Tensor):
                scores = reader.expand(len(rows), -1)
            else:
                scores = reader(torch.from_numpy(spans.vectors[rows]).float())
            best = scores.topk(min(most, vocabulary), dim=1).indices
            right = spans.targets(rows, vocabulary).gather(1, best)
            asked = torch.arange(best.shape[1]) < torch.from_numpy(counts[rows])[:, None]
            found += int((right * asked).sum())
    return found / max(len(spans.words), 1)
