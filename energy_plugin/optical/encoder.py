"""OpticalEncoder: texts or page images in, vision tokens and embeddings out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical import checkpoint
from energy_plugin.optical.checkpoint import COMPACT
from energy_plugin.optical.compact import CompactEncoder
from energy_plugin.optical.images import Picture, images_tiles
from energy_plugin.optical.pages import PageBatch
from energy_plugin.optical.typeset import (
    TILE_LINES,
    TYPESETTER_VERSION,
    Typesetter,
    check_texts,
)
from energy_plugin.validation import as_device, as_k

BATCH_TILES = 2048  # a few hundred MB of activations
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class OpticalEncoder:
    """A DeepEncoder with its typesetter.

    Make one with `from_pretrained`. Only pixels reach the network: a text is typeset
    first, and a page image gives the same vectors as the text that is set on it.

    Parameters
    ----------
    model : CompactEncoder
    name : str
        What the model is called in stored configurations.
    fingerprint : str
        Provenance of its vectors, 16 hexadecimal digits.
    device : str, optional
        ``cuda``, ``mps`` or ``cpu``; the first of these that is there unless given.
    dtype : {"float32", "bfloat16"}, default="float32"
        Precision of the matrix products. bfloat16 is about twice as fast on CPUs and
        GPUs that have it and moves a vector by less than 1e-4 in cosine.
    """

    def __init__(
        self,
        model: CompactEncoder,
        *,
        name: str,
        fingerprint: str,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if dtype not in _DTYPES:
            raise InvalidInputError(f"dtype is {dtype!r}, expected one of {sorted(_DTYPES)}")
        self.device = as_device(device)
        self.model = model.to(self.device).eval()
        self.name = name
        self.fingerprint = fingerprint
        self.dtype = dtype
        self.typesetter = Typesetter()

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path = COMPACT,
        *,
        device: str | None = None,
        dtype: str = "float32",
    ) -> OpticalEncoder:
        """Load a checkpoint. Nothing is fetched from a network.

        Parameters
        ----------
        path_or_name : str or Path, default="compact"
            ``"compact"`` is the bundled encoder; else a safetensors file that this
            project wrote, or a folder with such a ``model.safetensors``.

        Raises
        ------
        CheckpointError
            There is no such checkpoint, or it is incomplete.
        """
        if not isinstance(path_or_name, str | Path):
            raise InvalidInputError(
                f"path_or_name is {path_or_name!r}, expected {COMPACT!r}, a file or a folder"
            )
        path = checkpoint.locate(path_or_name)
        return cls(
            checkpoint.load(path),
            name=str(path_or_name),
            fingerprint=checkpoint.fingerprint(path),
            device=device,
            dtype=dtype,
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

    @overload
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        normalize_embeddings: bool = ...,
        convert_to_tensor: Literal[False] = ...,
        truncate_dim: int | None = ...,
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        normalize_embeddings: bool = ...,
        convert_to_tensor: Literal[True],
        truncate_dim: int | None = ...,
    ) -> Tensor: ...

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        truncate_dim: int | None = None,
    ) -> NDArray[np.float32] | Tensor:
        """Typeset and embed texts.

        Parameters
        ----------
        texts : str or sequence of str
            Texts of any length; one that overflows a page goes on on further pages,
            and the tokens of all its pages are pooled.
        batch_size : int, default=64
            Texts in a forward pass.
        show_progress_bar : bool, default=False
        normalize_embeddings : bool, default=True
            Scale to unit norm.
        convert_to_tensor : bool, default=False
            Return a tensor on the encoder's device.
        truncate_dim : int, optional
            Keep this many leading dimensions.

        Returns
        -------
        ndarray of shape (dim,) for one text, (n_texts, dim) for several, float32

        Raises
        ------
        InvalidInputError
            A text is not a string, or is empty or white space.
        """
        batch_size = as_k(batch_size, name="batch_size")
        batch = check_texts(texts)
        lines = [self.typesetter.lines(text) for text in batch]
        span = TILE_LINES * self.model.config.page_tiles

        def pages_of(row: int) -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(lines[row]), span):
                yield self.typesetter.set_lines(lines[row][start : start + span])

        out = self._pooled(pages_of, list(map(len, lines)), batch_size, show_progress_bar)
        return _finished(
            out if not isinstance(texts, str) else out[0],
            normalize_embeddings=normalize_embeddings,
            convert_to_tensor=convert_to_tensor,
            truncate_dim=truncate_dim,
        )

    encode_query = encode
    encode_document = encode

    def encode_images(
        self,
        images: Sequence[Picture],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> NDArray[np.float32]:
        """Embed page images as they are.

        The compact encoder reads pages of its own typesetter; other pictures get a
        vector too, but not one that means much.

        Parameters
        ----------
        images : sequence of PIL images, (h, w) or (h, w, 3) uint8 arrays, or paths

        Returns
        -------
        ndarray of shape (n_images, dim), float32
        """
        batch_size = as_k(batch_size, name="batch_size")
        tiles = images_tiles(images)
        side = self.model.config.page_tiles

        def pages_of(row: int) -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(tiles[row]), side):
                yield tiles[row][start : start + side]

        out = self._pooled(pages_of, list(map(len, tiles)), batch_size, show_progress_bar)
        finished = _finished(
            out,
            normalize_embeddings=normalize_embeddings,
            convert_to_tensor=False,
            truncate_dim=None,
        )
        assert isinstance(finished, np.ndarray)
        return finished

    def encode_tokens(self, texts: str | Sequence[str]) -> list[NDArray[np.float32]]:
        """Vision tokens of each text, for multi-vector search.

        Returns
        -------
        list of ndarray of shape (n_tiles, dim), float32
            One token a tile in reading order, not normalised.
        """
        span = TILE_LINES * self.model.config.page_tiles
        found = []
        for text in check_texts(texts):
            lines = self.typesetter.lines(text)
            pages = [
                self._tokens(PageBatch.of([self.typesetter.set_lines(lines[start : start + span])]))
                for start in range(0, len(lines), span)
            ]
            found.append(torch.cat(pages).cpu().numpy())
        return found

    def _pooled(
        self,
        pages_of: Callable[[int], Iterator[NDArray[np.uint8]]],
        sizes: Sequence[int],
        batch_size: int,
        show_progress_bar: bool,
    ) -> Tensor:
        """Weighted mean of the tokens of each item: (n_items, dim).

        A forward pass takes whole pages, of at most `batch_size` items and about
        `BATCH_TILES` tiles, so that memory does not grow with the length of a text.
        """
        sums = torch.zeros(len(sizes), self.dim, device=self.device)
        weights = torch.zeros(len(sizes), device=self.device)
        waiting: list[tuple[int, NDArray[np.uint8]]] = []

        def read() -> None:
            pages = PageBatch.of([tiles for _, tiles in waiting])
            inked, counts = pages.inked_lines.to(self.device), pages.tiles_of_page.to(self.device)
            means = self.model.pool(self._tokens(pages), inked, counts)
            total = torch.zeros(len(counts), device=self.device)
            total.index_add_(0, torch.repeat_interleave(counts), inked.float())
            rows = torch.tensor([row for row, _ in waiting], device=self.device)
            sums.index_add_(0, rows, means * total[:, None])
            weights.index_add_(0, rows, total)
            waiting.clear()

        with tqdm(
            total=len(sizes), desc="Optical encoding", unit="text", disable=not show_progress_bar
        ) as bar:
            items = tiles = 0
            for row in np.argsort(sizes, kind="stable"):
                for page in pages_of(int(row)):
                    waiting.append((int(row), page))
                    tiles += len(page)
                    if tiles >= BATCH_TILES:
                        read()
                        items = tiles = 0
                items += 1
                if items >= batch_size and waiting:
                    read()
                    items = tiles = 0
                bar.update()
            if waiting:
                read()
        return sums / weights.clamp_min(1e-12)[:, None]

    @torch.inference_mode()
    def _tokens(self, pages: PageBatch) -> Tensor:
        with torch.autocast(self.device.type, _DTYPES[self.dtype], enabled=self.dtype != "float32"):
            tokens = self.model(
                pages.lines.to(self.device),
                pages.line_of_tile.to(self.device),
                pages.tiles_of_page.to(self.device),
            )
        return tokens.float()


def _finished(
    out: Tensor, *, normalize_embeddings: bool, convert_to_tensor: bool, truncate_dim: int | None
) -> NDArray[np.float32] | Tensor:
    if truncate_dim is not None:
        kept = as_k(truncate_dim, name="truncate_dim")
        if kept > out.shape[-1]:
            raise InvalidInputError(f"truncate_dim must be at most {out.shape[-1]}, got {kept}.")
        out = out[..., :kept]
    if normalize_embeddings:
        out = F.normalize(out, dim=-1)
    return out if convert_to_tensor else out.cpu().numpy()


_loaded: dict[tuple[str, str | None, str], OpticalEncoder] = {}
_loading = threading.Lock()


def load_encoder(
    name: str = COMPACT, device: str | None = None, dtype: str = "float32"
) -> OpticalEncoder:
    """Like `OpticalEncoder.from_pretrained`, with one model in memory however often asked."""
    key = (name, device, dtype)
    with _loading:
        if key not in _loaded:
            _loaded[key] = OpticalEncoder.from_pretrained(name, device=device, dtype=dtype)
        return _loaded[key]
