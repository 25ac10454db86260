"""Schedule of a training run: stages, seeds, data and rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingConfig(Recipe):
    """Schedule of a training run.

    Attributes
    ----------
    seed : int
        Seeds weights, draws and batches.
    word_minutes, text_minutes, join_minutes : float
        Wall-clock budget of each stage; the learning rates follow it.
    word_pool : int
        Words that are drawn, and disturbed, at once in the first and the third stage;
        each of their lines is read about twice before others are drawn.
    word_varied, word_invented : float
        Share of words in other capitals, with punctuation or in compounds, and of words
        that are made of pieces at random.
    word_batch, word_rate : int, float
        Lines in a batch, and the peak learning rate of the first stage.
    word_others : int
        Slots of the glossary that stand for all that are not in the batch, until
        `word_sampled` of the stage is over; then every slot is asked.
    word_sampled : float
        Share of the first stage.
    tile_batch : int
        Tiles in a batch of the second stage.
    text_rate : float
        Peak learning rate of the second stage.
    join_rate, join_noise : float
        Peak learning rate of the third stage, and the share of words that are disturbed
        in it, mostly by missing spaces.
    shard_texts : int
        Texts in a shard.
    shards : int
        Shards to draw before they are used again.
    short_shards, short_first, short_later : int, float, float
        Share of short texts in the first `short_shards` shards, and in the others.
    passage_characters : int
        Longest passage.
    noise : float
        Share of words and texts that are typeset with noise while the teacher reads them
        clean; with `word_varied` and `word_invented` at most 1, like `join_noise`.
    sources : mapping of str to float, optional
        Weight of each text file by name; the square root of its size unless given.
    """

    KIND: ClassVar[str] = "a training configuration"
    BUNDLED: ClassVar[str] = "compact.json"

    seed: int = 0
    word_minutes: float = 12.0
    text_minutes: float = 75.0
    join_minutes: float = 15.0
    word_pool: int = 400_000
    word_varied: float = 0.15
    word_invented: float = 0.1
    word_batch: int = 2048
    word_rate: float = 2e-3
    word_others: int = 2000
    word_sampled: float = 0.8
    tile_batch: int = 1200
    text_rate: float = 2e-4
    join_rate: float = 1e-3
    join_noise: float = 0.5
    shard_texts: int = 6144
    shards: int = 60
    short_shards: int = 10
    short_first: float = 0.95
    short_later: float = 0.5
    passage_characters: int = 2000
    noise: float = 0.25
    sources: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "sources":
                weights = value.values() if isinstance(value, Mapping) else ()
                right = value is None or (bool(weights) and all(map(_is_share, weights)))
            elif field.type == "int":
                right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            else:
                right = _is_share(value)
            if not right:
                raise InvalidInputError(
                    f"{field.name} of a training configuration is {value!r}, expected a "
                    f"{field.type} that is not negative"
                )
        for name in ("word_pool", "word_batch"):
            if not getattr(self, name):
                raise InvalidInputError(f"{name} of a training configuration is 0, expected > 0")
        made = self.word_varied + self.word_invented
        for name in ("noise", "join_noise"):
            if getattr(self, name) + made > 1 + 1e-9:
                raise InvalidInputError(
                    f"{name}, word_varied and word_invented of a training configuration sum to "
                    f"{getattr(self, name) + made:g}; they are shares of the words, expected at "
                    "most 1"
                )


def _is_share(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and value >= 0
