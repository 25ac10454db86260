"""Shards of scanned lines, set ahead by other processes and kept until they are used."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy_plugin.optical.printed.alphabet import CHARACTERS, encoded
from energy_plugin.optical.printed.recogniser import COLUMNS_AN_ANSWER
from energy_plugin.optical.training.corpus import Corpus
from energy_plugin.optical.training.printed import faces, scans, texts

_A_SETTING = 8  # lines in a row set alike: opening a face costs as much as setting a line
HELD_OUT_SHARD = -1


@dataclass(frozen=True)
class LineShard:
    """Lines and what stands on them.

    Attributes
    ----------
    strips : ndarray of shape (24, sum of widths), uint8
        Side by side.
    widths, lengths : ndarray of shape (n_lines,), int64
        Columns and characters of each.
    codes : ndarray of shape (sum of lengths,), int64
    """

    strips: NDArray[np.uint8]
    widths: NDArray[np.int64]
    lengths: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def load(cls, path: Path) -> LineShard:
        """Read a shard of `LineSource`."""
        with np.load(path, allow_pickle=False) as file:
            return cls(*(file[name] for name in ("strips", "widths", "lengths", "codes")))


class LineSource:
    """Sets lines; the same seed and number give the same shard.

    Parameters
    ----------
    corpus : Path
        Folder of training text.
    fonts : tuple of Path
    held_out : tuple of str
        Families whose names have one of these words are kept for validation.
    lines, shortest, longest, seed : int
        Lines in a shard, their characters, and the seed.
    """

    def __init__(
        self,
        corpus: Path,
        fonts: tuple[Path, ...],
        held_out: tuple[str, ...],
        *,
        lines: int,
        shortest: int,
        longest: int,
        seed: int,
    ) -> None:
        self.texts = texts.LineTexts(Corpus(corpus))
        found = faces.found(fonts, CHARACTERS)
        self.families, held = faces.by_family(found, held_out)
        self.held_out = held or self.families
        self.lines, self.shortest, self.longest, self.seed = lines, shortest, longest, seed

    def make(self, number: int, longest: int | None = None) -> LineShard:
        """Shard of a number; `HELD_OUT_SHARD` is set in the families that are held out."""
        rng = np.random.default_rng([self.seed, number + 1])
        families = self.held_out if number == HELD_OUT_SHARD else self.families
        strips: list[NDArray[np.uint8]] = []
        codes: list[list[int]] = []
        around = ("", "")
        while len(strips) < self.lines:
            if len(strips) % _A_SETTING == 0:
                family = families[rng.integers(len(families))]
                setting = scans.Setting.draw(family[rng.integers(len(family))], rng)
            length = int(rng.integers(self.shortest, (longest or self.longest) + 1))
            drawn = self.texts.draw(length, rng)
            text = " ".join("".join(c for c in drawn if c in setting.face.glyphs).split()) or "to"
            strip = scans.scanned(text, setting, around, rng)
            around = (text, around[0])
            if strip.shape[1] // COLUMNS_AN_ANSWER >= len(text) + 2:
                strips.append(strip)
                codes.append(encoded(text))
        return LineShard(
            np.concatenate(strips, axis=1),
            np.array([strip.shape[1] for strip in strips]),
            np.array([len(each) for each in codes]),
            np.array([code for each in codes for code in each]),
        )


_source: list[LineSource] = []


def _open(arguments: dict[str, object]) -> None:
    _source[:] = [LineSource(**arguments)]  # type: ignore[arg-type]


def _make(number: int, longest: int | None, path: Path) -> None:
    shard = _source[0].make(number, longest)
    part = path.with_suffix(".part.npz")
    np.savez(part, **vars(shard))
    os.replace(part, path)


class LineShards:
    """Shards in a folder, set ahead by processes of their own.

    Parameters
    ----------
    folder : Path
    arguments : dict
        Of `LineSource`.
    processes : int
        None waits for those of another.
    """

    def __init__(self, folder: Path, arguments: dict[str, object], processes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ahead = folder, processes
        self.pool = (
            ProcessPoolExecutor(
                processes, get_context("spawn"), initializer=_open, initargs=(arguments,)
            )
            if processes
            else None
        )
        self.waiting: dict[int, Future[None]] = {}

    def ask(self, number: int, longest: int | None = None) -> None:
        """Have a shard made unless it is there or asked for."""
        if self.pool and number not in self.waiting and not self._path(number).exists():
            self.waiting[number] = self.pool.submit(_make, number, longest, self._path(number))

    def load(self, number: int, longest: int | None = None) -> LineShard:
        """A shard, waited for if need be."""
        self.ask(number, longest)
        if number in self.waiting:
            self.waiting.pop(number).result()
        while not self._path(number).exists():
            time.sleep(0.2)
        return LineShard.load(self._path(number))

    def drop(self, number: int) -> None:
        """Delete a shard that is used up."""
        self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """End the processes."""
        if self.pool:
            self.pool.shutdown(wait=True, cancel_futures=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"lines-{number:05d}.npz"
