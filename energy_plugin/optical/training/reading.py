"""Losses and start of the line stem, as a reader of words.

The stem starts as a classifier by nearest class mean: its reading is whitened over drawn
words, a key is the mean reading of the lines that show the slot's piece, a value the
teacher's input embedding of the piece. That alone names half of the pieces before
the first step of training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from energy_plugin.optical.network.lines import LineStem
from energy_plugin.optical.training.glyphs import GlyphSheet
from energy_plugin.optical.training.words import WordPool

_BLOCK = 8192  # windows read at once
_ASKED = 2048  # windows that ask the glossary at once: 200 MB of products
_SHARPNESS = (0.05, 0.1, 0.2, 0.4, 0.8)
_TRIED = 2048  # windows that choose among them
_RIDGE = 0.01  # of the mean variance, added before whitening


class WordReader:
    """The stem beside the words that it learns to read.

    Parameters
    ----------
    stem : LineStem
        With a glossary of at least as many slots as the words need.
    pool : WordPool
    pixel_mean, pixel_std : float
        Of the encoder's configuration.
    device : torch.device
    """

    def __init__(
        self,
        stem: LineStem,
        pool: WordPool,
        pixel_mean: float,
        pixel_std: float,
        device: torch.device,
    ) -> None:
        assert stem.glossary is not None
        self.stem, self.glossary, self.device = stem, stem.glossary, device
        self.mean, self.std = pixel_mean, pixel_std
        self.sheet = GlyphSheet.of(pool.lines).to(device)
        self.windows = torch.from_numpy(pool.windows).to(device)
        self.slots = torch.from_numpy(pool.slots).to(device)
        self.shares = torch.from_numpy(pool.shares).to(device)

    def __len__(self) -> int:
        return len(self.windows)

    def draw(self, count: int, rng: np.random.Generator) -> Tensor:
        """Numbers of windows, (count,)."""
        return torch.from_numpy(rng.integers(len(self), size=count)).to(self.device)

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
    def validate(self) -> dict[str, float]:
        """Cosine of what is read to what stands there, and the share of first pieces found.

        Cosines are taken after the mean of all values is subtracted.
        """
        values = self.glossary.values.weight
        centre = values.mean(0)
        cosine, found = 0.0, 0.0
        for rows in torch.arange(len(self), device=self.device).split(_ASKED):
            products = self.glossary.keys(self.read(rows).float())
            slots, shares = self.slots[rows], self.shares[rows]
            got = F.softmax(products, dim=-1) @ values
            wanted = (values[slots] * shares[..., None]).sum(1)
            cosine += F.cosine_similarity(got - centre, wanted - centre).sum().item()
            found += (products.argmax(1) == slots[:, 0]).sum().item()
        return {
            "word_cosine": round(cosine / len(self), 4),
            "piece_found": round(found / len(self), 4),
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
        rows = torch.arange(len(self), device=self.device)
        readings = torch.cat([self.read(block).bfloat16() for block in rows.split(_BLOCK)])
        centre, whiten = _whitening(readings)
        assert isinstance(last, torch.nn.Linear)
        last.bias.copy_(whiten @ (last.bias - centre))
        last.weight.copy_(whiten @ last.weight)

        sums = torch.zeros_like(keys.weight)
        weights = torch.zeros_like(keys.bias)
        for block in rows.split(_BLOCK):
            read = (readings[block].float() - centre) @ whiten
            for slots, shares in zip(self.slots[block].T, self.shares[block].T, strict=True):
                sums.index_add_(0, slots, read * shares[:, None])
                weights.index_add_(0, slots, shares)
        weights /= len(self)
        sums /= len(self)
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


def _whitening(readings: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (R,) and inverse square root of the covariance (R, R) of readings (n, R)."""
    width = readings.shape[1]
    centre = torch.zeros(width, device=readings.device)
    covariance = torch.zeros(width, width, device=readings.device)
    blocks = readings.split(_BLOCK)
    for read in blocks:
        centre += read.float().sum(0) / len(readings)
    for read in blocks:
        away = read.float() - centre
        covariance += away.T @ away / len(readings)
    spread, axes = torch.linalg.eigh(covariance)
    scales = (spread + _RIDGE * spread.mean()).clamp_min(1e-12).rsqrt()
    return centre, (axes * scales) @ axes.T


def slot_values(table: Tensor, pieces: NDArray[np.int64]) -> Tensor:
    """Rows of the teacher's table of input embeddings that stand in the slots."""
    return table[torch.from_numpy(pieces).to(table.device)]
