"""Items of unlike length through an encoder, some pages at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.halving import halved
from energy_plugin.validation import as_k


class PoolingReader(Protocol):
    """What reads pages into sums; a page is whatever it makes of an item."""

    device: torch.device

    @property
    def dim(self) -> int:
        """Width of a token."""

    def cost(self, page: Any) -> float:
        """Share of the largest batch that a page takes."""

    def read_pooled(self, pages: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Weighted sums (P, E) of the tokens of each page, and their weights (P,)."""


class Reader(PoolingReader, Protocol):
    """What reads pages into tokens, too."""

    def read_tokens(self, pages: Sequence[Any]) -> tuple[Tensor, ...]:
        """Tokens (n, E) of each page that show something."""


def pooled(
    reader: PoolingReader,
    pages_of: Callable[[int], Iterator[Any]],
    sizes: Sequence[int],
    batch_size: int,
    show_progress_bar: bool,
) -> Tensor:
    """Weighted mean of the tokens of each item: (n_items, dim).

    A forward pass takes whole pages, of at most `batch_size` items and about
    `BATCH_TILES` tiles, so that memory does not grow with the length of a text.
    """
    sums = torch.zeros(len(sizes), reader.dim, dtype=torch.float32, device=reader.device)
    weights = torch.zeros(len(sizes), dtype=torch.float32, device=reader.device)
    waiting: list[tuple[int, Any]] = []

    def read_pair(pages: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        return list(zip(*reader.read_pooled(pages), strict=True))

    def read() -> None:
        pairs = halved(read_pair, [page for _, page in waiting])
        rows = torch.tensor([row for row, _ in waiting], dtype=torch.int64, device=reader.device)
        sums.index_add_(0, rows, torch.stack([pair[0] for pair in pairs]))
        weights.index_add_(0, rows, torch.stack([pair[1] for pair in pairs]))
        waiting.clear()

    with tqdm(
        total=len(sizes), desc="Optical encoding", unit="text", disable=not show_progress_bar
    ) as bar:
        items, cost = 0, 0.0
        for row in np.argsort(sizes, kind="stable"):
            for page in pages_of(int(row)):
                waiting.append((int(row), page))
                cost += reader.cost(page)
                if cost >= 1:
                    read()
                    items, cost = 0, 0.0
            items += 1
            if items >= batch_size and waiting:
                read()
                items, cost = 0, 0.0
            bar.update()
        if waiting:
            read()
    return sums / weights.clamp_min(1e-12)[:, None]


def all_tokens(
    reader: Reader,
    pages_of: Callable[[int], Iterator[Any]],
    count: int,
    batch_size: int,
    show_progress_bar: bool,
) -> list[Tensor]:
    """Tokens of each item, a forward pass for about as many pages as `_pooled` takes."""
    found: list[list[Tensor]] = [[] for _ in range(count)]
    waiting: list[tuple[int, Any]] = []

    def read() -> None:
        pages = [page for _, page in waiting]
        for (row, _), tokens in zip(waiting, halved(reader.read_tokens, pages), strict=True):
            found[row].append(tokens)
        waiting.clear()

    rows = tqdm(range(count), desc="Optical encoding", unit="text", disable=not show_progress_bar)
    for row in rows:
        for page in pages_of(row):
            waiting.append((row, page))
            full = sum(reader.cost(page) for _, page in waiting) >= 1
            if full or len(waiting) >= batch_size:
                read()
    if waiting:
        read()
    return [torch.cat(tokens) for tokens in found]


def finished(out: Tensor, normalize: bool, truncate_dim: int | None = None) -> Tensor:
    """Leading dimensions, at unit norm where asked for.

    Raises
    ------
    InvalidInputError
        There are fewer dimensions than asked for.
    """
    if truncate_dim is not None:
        kept = as_k(truncate_dim, name="truncate_dim")
        if kept > out.shape[-1]:
            raise InvalidInputError(f"truncate_dim must be at most {out.shape[-1]}, got {kept}.")
        out = out[..., :kept]
    return F.normalize(out, dim=-1) if normalize else out


def as_array(out: Tensor) -> NDArray[np.float32]:
    """A tensor as an array on the CPU."""
    array: NDArray[np.float32] = out.cpu().numpy()
    return array
