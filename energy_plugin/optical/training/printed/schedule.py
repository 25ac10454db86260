"""Schedule of a training of the recogniser."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.training.recipe import Recipe


@dataclass(frozen=True)
class PrintConfig(Recipe):
    """Schedule of a training of the recogniser of print.

    Attributes
    ----------
    seed : int
        Seeds weights, lines and batches.
    minutes : float
        Wall-clock budget; the learning rate follows it.
    rate, decay : float
        Peak learning rate of AdamW, and its weight decay.
    average : float
        Share that the running average of the weights, which is what ships, keeps a step.
    batch_columns : int
        Pixel columns in a batch.
    shard_lines, uses : int
        Lines in a shard, and how often each is read before others are set.
    shortest, longest : int
        Characters of a line; a longer line of a page is no harder, since a frame sees about
        twenty characters.
    first_longest, first_shards : int
        Longest lines of the first shards: short ones are aligned sooner.
    held_out : tuple of str
        Families whose names have one of these words are kept for validation.
    stem, width, dilations
        Sizes of the recogniser.
    """

    KIND: ClassVar[str] = "a schedule for print"
    BUNDLED: ClassVar[str] = "print.json"

    seed: int = 0
    minutes: float = 75.0
    rate: float = 2e-3
    decay: float = 1e-2
    average: float = 0.998
    batch_columns: int = 14000
    shard_lines: int = 4096
    uses: int = 2
    shortest: int = 2
    longest: int = 40
    first_longest: int = 12
    first_shards: int = 1
    held_out: tuple[str, ...] = ()
    stem: tuple[int, ...] = (16, 32)
    width: int = 192
    dilations: tuple[int, ...] = (1, 1, 2, 1, 4, 1, 8, 1)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type.startswith("tuple"):
                kind = str if field.name == "held_out" else int
                right = isinstance(value, (list, tuple)) and all(
                    isinstance(each, kind) for each in value
                )
                object.__setattr__(self, field.name, tuple(value) if right else value)
            else:
                whole = isinstance(value, int) and not isinstance(value, bool)
                right = whole or (field.type == "float" and isinstance(value, float))
                right = right and value >= (0 if field.name in ("seed", "first_shards") else 1e-9)
                if field.name in ("decay", "average"):
                    right = isinstance(value, (int, float)) and 0 <= value < 1
            if not right:
                raise InvalidInputError(
                    f"{field.name} of a schedule for print is {value!r}, expected {field.type}"
                )
