"""The full DeepEncoder as an encoder of texts and images: modes, layouts, batches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.optical.base import BaseEncoder
from energy_plugin.optical.batching import Reader
from energy_plugin.optical.density import text_tokens
from energy_plugin.optical.halving import halved
from energy_plugin.optical.images import Picture, as_pictures
from energy_plugin.optical.modes import AUTO, MAX_TILES, MODES, PAGE_MODES, Mode, as_mode
from energy_plugin.optical.network.full import FullEncoder
from energy_plugin.optical.precision import DTYPES
from energy_plugin.optical.typesetting.overflow import POOL, check_overflow
from energy_plugin.optical.typesetting.page import PAGE_VERSION, PageTypesetter
from energy_plugin.optical.typesetting.tiles import TILE_SIDE, TYPESETTER_VERSION, Typesetter
from energy_plugin.optical.views import View, views_of_image
from energy_plugin.optical.weights import files as weights
from energy_plugin.optical.weights.published import encoder_of
from energy_plugin.validation import as_k

LAYOUTS = ("page", "tiles")
BATCH_PIXELS = {"cuda": 64 * 1024**2, "cpu": 4 * 512**2}  # of one forward pass


class PageEncoder(BaseEncoder):
    """A full DeepEncoder with its typesetter and modes; see `OpticalEncoder.from_pretrained`.

    Parameters
    ----------
    model : FullEncoder
    name : str
        Name of the model in stored configurations.
    digest : str
        Provenance of its weights.
    """

    def __init__(
        self,
        model: FullEncoder,
        *,
        name: str,
        digest: str,
        mode: str = AUTO,
        layout: str = "page",
        compression: float = 10.0,
        max_tiles: int = MAX_TILES,
        on_overflow: str = POOL,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if mode != AUTO:
            as_mode(mode)
        if layout not in LAYOUTS:
            raise InvalidInputError(f"layout is {layout!r}, expected one of {list(LAYOUTS)}")
        if not compression > 0:
            raise InvalidInputError(f"compression is {compression!r}, expected a positive number")
        super().__init__(
            model,
            name=name,
            fingerprint=digest,
            device=device,
            dtype=dtype,
            on_overflow=on_overflow,
        )
        self.mode = mode if mode == AUTO else as_mode(mode).name
        self.layout, self.compression = layout, float(compression)
        self.max_tiles = as_k(max_tiles, name="max_tiles")
        self.model.to(DTYPES[self.dtype])
        if self.device.type == "cuda":
            self.model.to(memory_format=torch.channels_last)
        read_as = json.dumps([digest, self.mode, layout, compression, max_tiles, PAGE_VERSION])
        self.fingerprint = hashlib.blake2b(read_as.encode(), digest_size=8).hexdigest()
        self.typesetter = self._typesetter(MODES["tiny"] if mode == AUTO else as_mode(mode))

    @classmethod
    def load(cls, path: Path, *, name: str, **options: Any) -> PageEncoder:
        """Read published weights from a file or folder."""
        found = weights.read(path)
        model = encoder_of(found, source=str(path))
        return cls(model, name=name, digest=weights.digest(found), **options)

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return int(self.model.config.projector)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that a vector depends on, in JSON primitives."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "typesetter_version": PAGE_VERSION if self.layout == "page" else TYPESETTER_VERSION,
            "dim": self.dim,
            "mode": self.mode,
            "layout": self.layout,
            "compression": self.compression,
            "max_tiles": self.max_tiles,
            "model": self.model.config.to_dict(),
        }

    def _typesetter(self, mode: Mode) -> PageTypesetter | Typesetter:
        return PageTypesetter(mode.base) if self.layout == "page" else Typesetter(mode.grid)

    def mode_of(self, text: str) -> Mode:
        """The mode in which a text is read.

        With mode ``"auto"``: the smallest mode whose page fits the complete text with at most
        `compression` text tokens per vision token; the largest mode for texts that overflow it.
        """
        if self.mode != AUTO:
            return MODES[self.mode]
        tokens = text_tokens(text)
        for name in PAGE_MODES:
            mode = MODES[name]
            if tokens / mode.content_tokens() <= self.compression and self._holds(mode, text):
                return mode
        return MODES[PAGE_MODES[-1]]

    def _holds(self, mode: Mode, text: str) -> bool:
        setter = self._typesetter(mode)
        room = setter.rows if isinstance(setter, PageTypesetter) else 4 * mode.grid**2
        return len(setter.lines(text)) <= room

    def pages(self, text: str) -> list[NDArray[np.uint8]]:
        """Pages of a text, (side, side) grey levels each, as the network sees them."""
        mode = self.mode_of(text)
        setter = self._typesetter(mode)
        if isinstance(setter, PageTypesetter):
            return setter.pages(text)
        tiles, room = setter.tiles(text), mode.grid**2
        pages = []
        for start in range(0, len(tiles), room):
            grid = np.full((room, TILE_SIDE, TILE_SIDE), 255, np.uint8)
            some = tiles[start : start + room]
            grid[: len(some)] = some
            square = grid.reshape(mode.grid, mode.grid, TILE_SIDE, TILE_SIDE).swapaxes(1, 2)
            pages.append(np.ascontiguousarray(square.reshape(mode.base, mode.base)))
        return pages

    @neutral()
    def sequence(self, image: Picture) -> NDArray[np.float32]:
        """All tokens of an image as the published decoder gets them.

        In the mode of the encoder; ``"auto"`` reads an image as Gundam.

        Returns
        -------
        ndarray of shape (n_tokens, dim), float32
            Rows of tiles and of the page, newline after each row, separator at the end.
        """
        mode = MODES["gundam" if self.mode == AUTO else self.mode]
        views, (columns, rows) = views_of_image(image, mode, max_tiles=self.max_tiles)
        tokens = self._view_tokens(views)
        tiles = None
        if columns * rows > 1:
            tiles = torch.stack(tokens[:-1])[None]
        arranged = self.model.arrange(tokens[-1][None], tiles, (columns, rows))
        found: NDArray[np.float32] = arranged[0].float().cpu().numpy()
        return found

    @neutral()
    def tokens_of_pages(self, pages: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Vision tokens that show something, of square pages one after the other.

        Returns
        -------
        ndarray of shape (n_tokens, dim), float32
        """
        found = halved(self.read_tokens, [View.of(page) for page in pages])
        return torch.cat(found).cpu().numpy()

    def _set(self, texts: list[str]) -> tuple[Callable[[int], Iterator[View]], list[int]]:
        modes = [self.mode_of(text) for text in texts]
        if self.on_overflow != POOL:
            check_overflow([len(self.pages(text)) for text in texts], self.on_overflow)

        def views_of(row: int) -> Iterator[View]:
            for page in self.pages(texts[row]):
                if MODES[self.mode if self.mode != AUTO else "base"].tile:
                    yield from views_of_image(page, modes[row], max_tiles=self.max_tiles)[0]
                else:
                    yield View.of(page)

        return views_of, [mode.base for mode in modes]

    def _cut(self, images: Sequence[Picture]) -> tuple[Callable[[int], Iterator[View]], list[int]]:
        pictures = as_pictures(images)
        mode = MODES["gundam" if self.mode == AUTO else self.mode]

        def views_of(row: int) -> Iterator[View]:
            yield from views_of_image(pictures[row], mode, row, max_tiles=self.max_tiles)[0]

        return views_of, [mode.base] * len(pictures)

    def _cut_documents(
        self, documents: list[list[Picture]]
    ) -> tuple[Callable[[int], Iterator[View]], list[int]]:
        firsts = np.cumsum([0, *map(len, documents)])
        views_of_page, _ = self._cut([page for pages in documents for page in pages])

        def views_of(row: int) -> Iterator[View]:
            for page in range(firsts[row], firsts[row + 1]):
                yield from views_of_page(page)

        return views_of, list(map(len, documents))

    def _reader(self) -> Reader:
        return self

    def _work(self, sizes: Sequence[int]) -> float:
        return math.inf  # a page alone is more than any threshold

    def cost(self, page: View) -> float:
        """Share of the largest batch that a view takes."""
        limit = BATCH_PIXELS.get(self.device.type, BATCH_PIXELS["cpu"])
        return page.side**2 / limit

    def read_pooled(self, pages: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Sums (P, E) of the tokens of each view that show something, and their numbers."""
        pairs = zip(self._view_tokens(pages), pages, strict=True)
        shown = [tokens[self._mask(view)] for tokens, view in pairs]
        sums = torch.stack([tokens.float().sum(0) for tokens in shown])
        counts = [float(len(tokens)) for tokens in shown]
        return sums, torch.tensor(counts, dtype=torch.float32, device=self.device)

    def read_tokens(self, pages: Sequence[View]) -> tuple[Tensor, ...]:
        """Tokens (n, E) of each view that show something."""
        pairs = zip(self._view_tokens(pages), pages, strict=True)
        return tuple(tokens[self._mask(view)].float() for tokens, view in pairs)

    def _mask(self, view: View) -> Tensor:
        return torch.from_numpy(view.content).to(self.device)

    @torch.inference_mode()
    def _view_tokens(self, views: Sequence[View]) -> list[Tensor]:
        """Tokens (g², E) of each view; those of one size are read together."""
        found: dict[int, Tensor] = {}
        for side in sorted({view.side for view in views}):
            places = [place for place, view in enumerate(views) if view.side == side]
            tokens = self.model(self._pixels([views[place] for place in places]))
            found |= dict(zip(places, tokens, strict=True))
        return [found[place] for place in range(len(views))]

    def _pixels(self, views: Sequence[View]) -> Tensor:
        """Pixels (B, 3, S, S) in [−1, 1]."""
        channels = [
            view.pixels if view.pixels.ndim == 3 else view.pixels[..., None].repeat(3, -1)
            for view in views
        ]
        raw = torch.from_numpy(np.stack(channels)).to(self.device)  # (B, S, S, 3)
        return raw.permute(0, 3, 1, 2).float() / 127.5 - 1
