"""Shards of training texts with the teacher's targets, kept on disk.

The teacher's reading costs as much as the student's, so it is done once: a shard
that exists is loaded, whoever asks again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.glyphs import GlyphSheet
from energy_plugin.optical.training.noise import NOISES, NoisyWord, noisy_words
from energy_plugin.optical.training.teacher import Reading, Teacher
from energy_plugin.optical.typesetting.tiles import TILE_LINES, Typesetter


@dataclass(frozen=True)
class Shard:
    """Typeset texts and what the teacher made of them.

    Attributes
    ----------
    lines : GlyphSheet
        Distinct lines; the first is blank.
    line_of_tile : Tensor of shape (n_tiles, 4), int64
    tiles_of_text : Tensor of shape (n_texts,), int64
    tile_targets : Tensor of shape (n_tiles, 384), float16
        Mean last hidden state of the pieces in each tile.
    tile_pieces : Tensor of shape (n_tiles,), float32
        Word pieces in each tile; 0 past the teacher's horizon.
    embeddings : Tensor of shape (n_texts, 384), float16
    """

    lines: GlyphSheet
    line_of_tile: Tensor
    tiles_of_text: Tensor
    tile_targets: Tensor
    tile_pieces: Tensor
    embeddings: Tensor

    def to(self, device: torch.device) -> Shard:
        """The same shard on a device."""
        return Shard(*(getattr(self, field.name).to(device) for field in fields(self)))


def tile_targets(
    readings: Sequence[Reading], lines_of_word: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean hidden state of each tile: the pieces of a word are spread over its lines.

    Parameters
    ----------
    readings : sequence of Reading
    lines_of_word : sequence of sequences of int
        Lines of each word of each text; every text begins a tile.

    Returns
    -------
    targets : Tensor of shape (n_tiles, 384), float32
    pieces : Tensor of shape (n_tiles,), float32
    """
    first_lines, words, begin, first_word = [], [], 0, 0
    for reading, counts in zip(readings, lines_of_word, strict=True):
        ends = np.cumsum(counts)
        first_lines.append(begin + np.concatenate([[0], ends[:-1]]))
        words.append(first_word + reading.word_of_piece)
        begin += -(-int(ends[-1]) // TILE_LINES) * TILE_LINES
        first_word += len(counts)
    word = np.concatenate(words)  # of each piece, ascending
    starts = np.searchsorted(word, word)
    pieces = np.searchsorted(word, word, side="right") - starts
    within = np.arange(len(word)) - starts
    height = np.concatenate([np.asarray(counts) for counts in lines_of_word])
    line = np.concatenate(first_lines)[word] + within * height[word] // pieces
    tile = torch.from_numpy(line // TILE_LINES).to(device)
    hidden = torch.from_numpy(np.concatenate([reading.hidden for reading in readings]))
    sums = torch.zeros(begin // TILE_LINES, hidden.shape[1], device=device)
    sums.index_add_(0, tile, hidden.to(device).float())
    count = torch.bincount(tile, minlength=len(sums)).float()
    return sums / count.clamp_min(1)[:, None], count


def _disturbed(
    texts: Sequence[Sequence[str]], share: float, rng: np.random.Generator
) -> list[list[NoisyWord]]:
    """A share of the texts with noise of one kind each, in up to half of their words."""
    out = []
    for words in texts:
        noisy = rng.random() < share
        kind = NOISES[rng.integers(len(NOISES))]
        out.append(noisy_words(words, kind, rng.uniform(0.05, 0.5) if noisy else 0.0, rng))
    return out


def build_shard(
    texts: Sequence[str], typesetter: Typesetter, teacher: Teacher, *, noise: float, seed: int
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Texts as the student sees them, and the teacher's reading of the clean ones.

    Returns
    -------
    texts : list of str
    arrays : dict of str to ndarray
        Targets; the lines are typeset again at load.
    """
    words = [text.split() for text in texts]
    seen = _disturbed(words, noise, np.random.default_rng([seed, 1]))
    readings = [
        reading.joined([word.clean for word in noisy])
        for reading, noisy in zip(teacher.read(words), seen, strict=True)
    ]
    lines_of_word = [[len(typesetter.words(word.text)[0]) for word in noisy] for noisy in seen]
    targets, pieces = tile_targets(readings, lines_of_word, teacher.device)
    return [" ".join(word.text for word in noisy) for noisy in seen], {
        "tile_targets": targets.cpu().numpy().astype(np.float16),
        "tile_pieces": pieces.cpu().numpy(),
        "embeddings": np.stack([reading.embedding for reading in readings]),
    }


class ShardStore:
    """Shards in a folder, made when first asked for.

    Parameters
    ----------
    folder : Path
        Where shards are kept.
    corpus : Corpus
    teacher : Teacher
    typesetter : Typesetter
    n_texts : int
        Texts in a shard.
    seed : int
        Shard i draws its texts with the seed (seed, i).
    noise : float, default=0
        Share of texts that the student sees with noise; see `noise`.
    """

    def __init__(
        self,
        folder: Path,
        corpus: Corpus,
        teacher: Teacher,
        typesetter: Typesetter,
        *,
        n_texts: int,
        seed: int,
        noise: float = 0.0,
    ) -> None:
        self.folder, self.corpus, self.teacher = folder, corpus, teacher
        self.typesetter, self.n_texts, self.seed, self.noise = typesetter, n_texts, seed, noise
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, index: int, *, short: float) -> Shard:
        """Load shard `index`, after making it if it is not there yet."""
        path = self.folder / f"shard-{index:04d}-{round(100 * short):02d}.safetensors"
        texts_path = path.with_suffix(".json")
        if not path.exists():
            seed = self.seed * 1_000_003 + index
            drawn = self.corpus.draw(self.n_texts, short=short, seed=seed)
            seen, arrays = build_shard(
                drawn, self.typesetter, self.teacher, noise=self.noise, seed=seed
            )
            texts_path.write_text(json.dumps(seen), encoding="utf-8")
            save_file(arrays, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
        texts = json.loads(texts_path.read_text(encoding="utf-8"))
        return _typeset(texts, self.typesetter, load_file(path))


def _typeset(texts: list[str], typesetter: Typesetter, arrays: dict[str, np.ndarray]) -> Shard:
    index: dict[str, int] = {"": 0}
    places: list[int] = []
    tiles_of_text = []
    for text in texts:
        lines = typesetter.lines(text)
        n_tiles = -(-len(lines) // TILE_LINES)
        places.extend(index.setdefault(line, len(index)) for line in lines)
        places.extend([0] * (n_tiles * TILE_LINES - len(lines)))
        tiles_of_text.append(n_tiles)
    return Shard(
        lines=GlyphSheet.of(index),
        line_of_tile=torch.tensor(places).view(-1, TILE_LINES),
        tiles_of_text=torch.tensor(tiles_of_text),
        tile_targets=torch.from_numpy(arrays["tile_targets"]),
        tile_pieces=torch.from_numpy(arrays["tile_pieces"]),
        embeddings=torch.from_numpy(arrays["embeddings"]),
    )
