"""Shards of training texts with the teacher's targets, kept on disk.

The teacher's reading costs as much as the student's, so it is done once: a shard
that exists is loaded, whoever asks again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.teacher import Reading, Teacher
from energy_plugin.optical.training.words import line_images
from energy_plugin.optical.typeset import TILE_LINES, Typesetter


@dataclass(frozen=True)
class Shard:
    """Typeset texts and what the teacher made of them.

    Attributes
    ----------
    lines : Tensor of shape (n_lines, 16, 64), uint8
        Distinct lines; the first is blank.
    line_of_tile : Tensor of shape (n_tiles, 4), int64
    tiles_of_text : Tensor of shape (n_texts,), int64
    tile_targets : Tensor of shape (n_tiles, 384), float16
        Mean last hidden state of the pieces in each tile.
    tile_pieces : Tensor of shape (n_tiles,), float32
        Word pieces in each tile; 0 past the teacher's horizon.
    embeddings : Tensor of shape (n_texts, 384), float16
    """

    lines: Tensor
    line_of_tile: Tensor
    tiles_of_text: Tensor
    tile_targets: Tensor
    tile_pieces: Tensor
    embeddings: Tensor


def _tile_targets(
    reading: Reading, lines_of_word: list[int], n_tiles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean hidden state per tile: pieces of a word are spread over its lines."""
    first_line = np.concatenate([[0], np.cumsum(lines_of_word)])
    words = reading.word_of_piece
    starts = np.searchsorted(words, words)
    pieces = np.searchsorted(words, words, side="right") - starts
    within = np.arange(len(words)) - starts
    line = first_line[words] + within * np.asarray(lines_of_word)[words] // pieces
    tile = line // TILE_LINES
    sums = np.zeros((n_tiles, reading.hidden.shape[1]), np.float32)
    np.add.at(sums, tile, reading.hidden.astype(np.float32))
    counts = np.bincount(tile, minlength=n_tiles).astype(np.float32)
    return sums / np.maximum(counts, 1)[:, None], counts


def build_shard(
    texts: list[str], typesetter: Typesetter, teacher: Teacher
) -> dict[str, np.ndarray]:
    """Targets of a shard as plain arrays (the lines are typeset again at load)."""
    words = [text.split() for text in texts]
    readings = teacher.read(words)
    targets, pieces = [], []
    for text_words, reading in zip(words, readings, strict=True):
        lines_of_word = [len(typesetter.words(word)[0]) for word in text_words]
        n_tiles = -(-sum(lines_of_word) // TILE_LINES)
        target, count = _tile_targets(reading, lines_of_word, n_tiles)
        targets.append(target.astype(np.float16))
        pieces.append(count)
    return {
        "tile_targets": np.concatenate(targets),
        "tile_pieces": np.concatenate(pieces),
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
    ) -> None:
        self.folder, self.corpus, self.teacher = folder, corpus, teacher
        self.typesetter, self.n_texts, self.seed = typesetter, n_texts, seed
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, index: int, *, short: float) -> Shard:
        """Load shard `index`, after making it if it is not there yet."""
        path = self.folder / f"shard-{index:04d}-{round(100 * short):02d}.safetensors"
        texts_path = path.with_suffix(".json")
        if not path.exists():
            texts = self.corpus.draw(self.n_texts, short=short, seed=self.seed * 1_000_003 + index)
            arrays = build_shard(texts, self.typesetter, self.teacher)
            texts_path.write_text(json.dumps(texts), encoding="utf-8")
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
        lines=line_images(index, typesetter),
        line_of_tile=torch.tensor(places).view(-1, TILE_LINES),
        tiles_of_text=torch.tensor(tiles_of_text),
        tile_targets=torch.from_numpy(arrays["tile_targets"]),
        tile_pieces=torch.from_numpy(arrays["tile_pieces"]),
        embeddings=torch.from_numpy(arrays["embeddings"]),
    )
