"""Losses and start of the line stem, as a reader of words.

The stem starts as a classifier by nearest class mean: its reading is whitened over the
vocabulary, a key is the mean reading of the lines that show the slot's piece, a value the
teacher's input embedding of the piece. That alone names half of the pieces before
the first step of training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from energy_plugin.optical.lines import LineStem
from energy_plugin.optical.training.glyphs import GlyphSheet
from energy_plugin.optical.training.words import WordVocabulary

_BLOCK = 8192  # windows read at once
_SHARPNESS = (0.05, 0.1, 0.2, 0.4, 0.8)
_TRIED = 2048  # windows that choose among them
_RIDGE = 0.01  # of the mean variance, added before whitening


class WordReader:
    """The stem beside the vocabulary that it learns to read.

    Parameters
    ----------
    stem : LineStem
        With a glossary of at least as many slots as the vocabulary has.
    vocabulary : WordVocabulary
    pixel_mean, pixel_std : float
        Of the encoder's configuration.
    device : torch.device
    """

    def __init__(
        self,
        stem: LineStem,
        vocabulary: WordVocabulary,
        pixel_mean: float,
        pixel_std: float,
        device: torch.device,
    ) -> None:
        assert stem.glossary is not None
        self.stem, self.glossary, self.device = stem, stem.glossary, device
        self.mean, self.std = pixel_mean, pixel_std
        self.sheet = GlyphSheet.of(vocabulary.lines).to(device)
        self.windows = torch.from_numpy(vocabulary.windows).to(device)
        self.slots = torch.from_numpy(vocabulary.slots).to(device)
        self.shares = torch.from_numpy(vocabulary.shares).to(device)
        self.chances = vocabulary.chances / vocabulary.chances.sum()
        self._sums = np.cumsum(self.chances)

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """Numbers of windows, (count,)."""
        drawn = np.searchsorted(self._sums, rng.random(count) * self._sums[-1])
        return torch.from_numpy(drawn).to(self.device)

    def read(self, rows: Tensor) -> Tensor:
        """Readings of some windows, (n, R)."""
        used, places = torch.unique(self.windows[rows], return_inverse=True)
        pixels = (self.sheet.images(used).float() / 255 - self.mean) / self.std
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.stem.read(pixels, places)

    def loss(self, rows: Tensor, others: Tensor | None = None) -> Tensor:
        """Cross-entropy of the slots of some windows, in nats.

        Parameters
        ----------
        rows : Tensor of shape (n,), int64
        others : Tensor of shape (m,), int64, optional
            Slots that stand for all that are not in the batch (sampled softmax; Jean et
            al., "On Using Very Large Target Vocabulary", 2015). All slots unless given.
        """
        slots, shares = self.slots[rows], self.shares[rows]
        weight: Tensor = self.glossary.keys.weight
        bias: Tensor = self.glossary.keys.bias
        stands_for = torch.zeros_like(bias)
        if others is not None:
            shown = torch.unique(slots)
            chosen = torch.unique(torch.cat([shown, others]))
            place = torch.zeros(len(bias), dtype=torch.long, device=rows.device)
            place[chosen] = torch.arange(len(chosen), device=rows.device)
            # Each of the m others stands for its share of the slots that were left out.
            weigh = torch.full_like(bias, np.log((len(bias) - len(shown)) / len(others)))
            weigh[shown] = 0
            weight, bias, stands_for = weight[chosen], bias[chosen], weigh[chosen]
            slots = place[slots]
        with torch.autocast(self.device.type, torch.bfloat16):
            products = F.linear(self.read(rows), weight, bias)
        products = products.float()
        expected = (products.gather(1, slots) * shares).sum(1)
        return (torch.logsumexp(products + stands_for, dim=1) - expected).mean()

    @torch.no_grad()
    def validate(self, rows: Tensor) -> dict[str, float]:
        """Cosine of what is read to what stands there, and the share of first pieces found.

        Cosines are taken after the mean of all values is subtracted.
        """
        values = self.glossary.values.weight
        products = self.glossary.keys(self.read(rows).float())
        slots, shares = self.slots[rows], self.shares[rows]
        got = F.softmax(products, dim=-1) @ values
        wanted = (values[slots] * shares[..., None]).sum(1)
        centre = values.mean(0)
        cosine = F.cosine_similarity(got - centre, wanted - centre).mean()
        return {
            "word_cosine": round(cosine.item(), 4),
            "piece_found": round((products.argmax(1) == slots[:, 0]).float().mean().item(), 4),
        }

    @torch.no_grad()
    def start(self, values: Tensor, rng: np.random.Generator) -> None:
        """Begin as a classifier by nearest class mean.

        Parameters
        ----------
        values : Tensor of shape (n_slots, E)
            The teacher's input embeddings of the pieces in the slots.
        rng : numpy.random.Generator
            Draws the windows that choose the sharpness.
        """
        keys, last = self.glossary.keys, self.stem.layers[-1]
        rows = torch.arange(len(self.windows), device=self.device)
        readings = torch.cat([self.read(block).bfloat16() for block in rows.split(_BLOCK)])
        chances = torch.from_numpy(self.chances).float().to(self.device)
        centre, whiten = _whitening(readings, chances)
        assert isinstance(last, torch.nn.Linear)
        last.bias.copy_(whiten @ (last.bias - centre))
        last.weight.copy_(whiten @ last.weight)

        sums = torch.zeros_like(keys.weight)
        weights = torch.zeros_like(keys.bias)
        for block in rows.split(_BLOCK):
            read = (readings[block].float() - centre) @ whiten
            for slots, shares in zip(self.slots[block].T, self.shares[block].T, strict=True):
                weight = shares * chances[block]
                sums.index_add_(0, slots, read * weight[:, None])
                weights.index_add_(0, slots, weight)
        means = sums / weights.clamp_min(1e-12)[:, None]
        prior = torch.log(weights + 1e-9) / 2
        tried = self.draw(_TRIED, rng)

        def begin(sharpness: float) -> float:
            # The product of a reading and a key, less its square, is their distance.
            keys.weight.copy_(sharpness * means)
            keys.bias.copy_(prior - sharpness / 2 * means.square().sum(1))
            return self.loss(tried).item()

        begin(min(_SHARPNESS, key=begin))
        self.glossary.values.weight.zero_()
        self.glossary.values.weight[: len(values)].copy_(values)


def _whitening(readings: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (R,) and inverse square root of the covariance (R, R) of weighted readings."""
    width = readings.shape[1]
    centre = torch.zeros(width, device=readings.device)
    covariance = torch.zeros(width, width, device=readings.device)
    blocks = list(zip(readings.split(_BLOCK), chances.split(_BLOCK), strict=True))
    for read, weight in blocks:
        centre += weight @ read.float()
    for read, weight in blocks:
        away = read.float() - centre
        covariance += (away * weight[:, None]).T @ away
    spread, axes = torch.linalg.eigh(covariance)
    scales = (spread + _RIDGE * spread.mean()).clamp_min(1e-12).rsqrt()
    return centre, (axes * scales) @ axes.T


def slot_values(table: Tensor, pieces: NDArray[np.int64]) -> Tensor:
    """Rows of the teacher's table of input embeddings that stand in the slots."""
    return table[torch.from_numpy(pieces).to(table.device)]
