"""OpticalEncoder: texts or page images in, vision tokens and embeddings out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.optical.base import BaseEncoder
from energy_plugin.optical.batching import Reader, as_array, finished, pooled
from energy_plugin.optical.images import Picture, as_pictures
from energy_plugin.optical.modes import AUTO, MAX_TILES
from energy_plugin.optical.network.compact import CompactEncoder
from energy_plugin.optical.page_encoder import PageEncoder
from energy_plugin.optical.page_reader import CompactReader
from energy_plugin.optical.precision import DTYPES
from energy_plugin.optical.typesetting.overflow import POOL, check_overflow
from energy_plugin.optical.typesetting.tiles import (
    TILE_LINES,
    TYPESETTER_VERSION,
)
from energy_plugin.optical.weights import checkpoint
from energy_plugin.optical.weights.checkpoint import COMPACT
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from energy_plugin.optical.printed.reading import Reading


class OpticalEncoder(BaseEncoder):
    """A DeepEncoder with its typesetter; `from_pretrained` loads any encoder.

    Make one with `from_pretrained`. The network sees only pixels: a text is typeset first, and a
    page image gives the same vectors as its text.

    Parameters
    ----------
    model : CompactEncoder
    name, fingerprint, device, dtype, on_overflow
        See `BaseEncoder`.
    """

    model: CompactEncoder

    @classmethod
    @neutral()
    def from_pretrained(
        cls,
        path_or_name: str | Path = COMPACT,
        *,
        mode: str | None = None,
        layout: str | None = None,
        compression: float = 10.0,
        max_tiles: int = MAX_TILES,
        on_overflow: str = POOL,
        revision: str = "main",
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        show_progress_bar: bool = False,
        device: str | None = None,
        dtype: str = "float32",
    ) -> BaseEncoder:
        """Load a checkpoint.

        Parameters
        ----------
        path_or_name : str or Path, default="compact"
            ``"compact"`` is the bundled encoder. A safetensors file, or a folder with one or with
            an index of several: a compact encoder that this project wrote, or weights with the
            published names. ``"owner/name"``, if there is no such file: a repository on the
            Hugging Face Hub. Only the encoder's bytes are fetched, once (0.8 GB of 6.7). Nothing
            else is fetched.
        mode : {"auto", "tiny", "small", "base", "large", "gundam"}, optional
            Resolution. ``"auto"``, the default of published weights, uses the smallest page that
            keeps the chosen compression for each text. The compact encoder reads ``"tiny"`` pages.
        layout : {"page", "tiles"}, optional
            Layout of the text; the default is ``"page"``, for the compact encoder ``"tiles"``.
        compression : float, default=10.0
            With mode ``"auto"``: text tokens per vision token, at most.
        max_tiles : int, default=9
            With mode ``"gundam"``: tiles per image, at most.
        on_overflow : {"pool", "warn", "raise"}, default="pool"
            For texts of more than one page: pool all pages, pool them with a warning, or raise an
            error.
        revision, cache_dir, local_files_only, show_progress_bar
            For a repository: see `hub.fetch`.

        Raises
        ------
        CheckpointError
            The checkpoint does not exist or is incomplete.
        InvalidInputError
            The weights do not support the mode or layout.
        """
        if not isinstance(path_or_name, str | Path):
            raise InvalidInputError(
                f"path_or_name is {path_or_name!r}, expected {COMPACT!r}, a file, a folder or a "
                "repository"
            )
        path = checkpoint.source(
            path_or_name,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            show_progress_bar=show_progress_bar,
        )
        if not checkpoint.is_compact(path):
            return PageEncoder.load(
                path,
                name=str(path_or_name),
                mode=mode or AUTO,
                layout=layout or "page",
                compression=compression,
                max_tiles=max_tiles,
                on_overflow=on_overflow,
                device=device,
                dtype=dtype,
            )
        if mode not in (None, AUTO, "tiny") or layout not in (None, "tiles"):
            raise InvalidInputError(
                f"mode is {mode!r} and layout {layout!r}, but {str(path_or_name)!r} is a compact "
                "encoder, which reads mode 'tiny' and layout 'tiles'; name published weights"
            )
        path = checkpoint.locate(path)
        return cls(
            checkpoint.load(path),
            name=str(path_or_name),
            fingerprint=checkpoint.fingerprint(path),
            device=device,
            dtype=dtype,
            on_overflow=on_overflow,
        )

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return self.model.config.width

    @property
    def config(self) -> dict[str, Any]:
        """Everything that a vector depends on, in JSON primitives."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "typesetter_version": TYPESETTER_VERSION,
            "dim": self.dim,
            "model": self.model.config.to_dict(),
        }

    @cached_property
    def recogniser(self) -> str:
        """Provenance of the bundled recogniser; vectors of printed pages depend on it too."""
        from energy_plugin.optical.printed import files

        return files.fingerprint()

    def _set(self, texts: list[str]) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each text, and how long each text is."""
        lines = [self.typesetter.lines(text) for text in texts]
        span = TILE_LINES * self.model.config.page_tiles
        check_overflow([-(-len(found) // span) for found in lines], self.on_overflow)

        def pages_of(row: int) -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(lines[row]), span):
                yield self.typesetter.set_lines(lines[row][start : start + span])

        return pages_of, list(map(len, lines))

    def _cut(self, images: Sequence[Picture]) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each image, and how large each image is."""
        names = [[f"images[{row}]"] for row in range(len(images))]
        return self._cut_named([[image] for image in images], names)

    def _cut_documents(
        self, documents: list[list[Picture]]
    ) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each document of several images, and how large each document is."""
        names = [
            [f"documents[{row}][{page}]" for page in range(len(pages))]
            for row, pages in enumerate(documents)
        ]
        return self._cut_named(documents, names)

    def _cut_named(
        self, documents: list[list[Picture]], names: list[list[str]]
    ) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        from energy_plugin.optical.printed.pages import document_tiles, seen_pages

        seen = seen_pages(list(chain(*documents)), list(chain(*names)), self.print_reader)
        return self._tiles_of(
            [
                document_tiles(list(islice(seen, len(pages))), called, self.typesetter)
                for pages, called in zip(documents, names, strict=True)
            ]
        )

    def _tiles_of(
        self, tiles: list[NDArray[np.uint8]]
    ) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of documents of so many tiles, and how large each document is."""
        side = self.model.config.page_tiles
        check_overflow([-(-len(found) // side) for found in tiles], self.on_overflow)

        def pages_of(row: int) -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(tiles[row]), side):
                yield tiles[row][start : start + side]

        return pages_of, list(map(len, tiles))

    @neutral()
    def encode_and_read(
        self,
        images: Sequence[Picture],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> tuple[NDArray[np.float32], list[Reading]]:
        """`encode_images` and `read` in one pass; see `BaseEncoder.encode_and_read`."""
        from energy_plugin.optical.printed.pages import document_tiles, seen_pages

        batch_size = as_k(batch_size, name="batch_size")
        pictures = as_pictures(images)
        names = [f"images[{row}]" for row in range(len(pictures))]
        seen = list(seen_pages(pictures, names, self.print_reader, words=True))
        shown = [row for row, page in enumerate(seen) if page.own is not None or page.text]
        tiles = [document_tiles([seen[row]], [names[row]], self.typesetter) for row in shown]
        out = np.zeros((len(seen), self.dim), np.float32)
        if shown:
            pages_of, sizes = self._tiles_of(tiles)
            found = pooled(self._reader(), pages_of, sizes, batch_size, show_progress_bar)
            out[shown] = as_array(finished(found, normalize_embeddings))
        return out, [page.reading for page in seen if page.reading is not None]

    def _reader(self) -> Reader:
        """What reads the pages of one call."""
        return CompactReader(self.model, self.device, DTYPES[self.dtype])


_loaded: dict[tuple[str, str | None, str], BaseEncoder] = {}
_lock = SimpleNamespace(loading=threading.Lock())


def _after_fork() -> None:
    """Forget a lock whose holder is not a thread of the forked process."""
    _lock.loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load_encoder(
    name: str = COMPACT, device: str | None = None, dtype: str = "float32"
) -> BaseEncoder:
    """Like `OpticalEncoder.from_pretrained`, but repeated calls share one model in memory."""
    key = (name, device, dtype)
    with _lock.loading:
        if key not in _loaded:
            _loaded[key] = OpticalEncoder.from_pretrained(name, device=device, dtype=dtype)
        return _loaded[key]
