"""OpticalEncoder: texts or page images in, vision tokens and embeddings out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from energy_plugin.errors import CheckpointError, InvalidInputError
from energy_plugin.optical import checkpoint
from energy_plugin.optical.deepencoder import DeepEncoder
from energy_plugin.optical.images import image_tiles
from energy_plugin.optical.typeset import (
    TILE_LINES,
    TILE_SIDE,
    TYPESETTER_VERSION,
    Typesetter,
    check_texts,
)

if TYPE_CHECKING:
    from PIL.Image import Image

COMPACT = "compact"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class _Pages:
    """Tiles of some texts, cut into pages, as the model takes them."""

    lines: Tensor  # (U, 16, 64)
    line_of_tile: Tensor  # (N, 4)
    tiles_of_page: Tensor  # (P,)
    tiles_of_text: Tensor  # (n_texts,)
    weights: Tensor  # (N,) inked lines


def _pages(tiles_of_texts: Sequence[NDArray[np.uint8]], page_tiles: int) -> _Pages:
    """Equal lines are read once: a page repeats its frequent words many times."""
    tiles = np.concatenate(tiles_of_texts)
    rows = tiles.reshape(-1, TILE_SIDE // TILE_LINES, TILE_SIDE)
    index: dict[bytes, int] = {}
    places = [index.setdefault(row.tobytes(), len(index)) for row in rows]
    distinct = np.frombuffer(b"".join(index), np.uint8).reshape(-1, *rows.shape[1:])
    line_of_tile = torch.tensor(places).view(-1, TILE_LINES)
    lines = torch.from_numpy(distinct.copy())
    inked = (lines < 255).flatten(1).any(1)[line_of_tile]
    counts = [len(tiles) for tiles in tiles_of_texts]
    pages = [
        min(page_tiles, count - start) for count in counts for start in range(0, count, page_tiles)
    ]
    return _Pages(lines, line_of_tile, torch.tensor(pages), torch.tensor(counts), inked.sum(1))


class OpticalEncoder:
    """A DeepEncoder with its typesetter.

    Make one with `from_pretrained`. Only pixels reach the network: a text is typeset
    first, and a page image gives the same vectors as the text that is set on it.

    Parameters
    ----------
    model : DeepEncoder
    name : str
        What the model is called in stored configurations.
    fingerprint : str
        Provenance of its vectors, 16 hexadecimal digits.
    device : str, optional
        ``cuda``, ``mps`` or ``cpu``; the first of these that is there unless given.
    dtype : {"float32", "bfloat16"}, default="float32"
        Precision of the matrix products. bfloat16 is about twice as fast on CPUs and
        GPUs that have it and moves a vector by about 1e-3 in cosine.
    """

    def __init__(
        self,
        model: DeepEncoder,
        *,
        name: str,
        fingerprint: str,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        if dtype not in _DTYPES:
            raise InvalidInputError(f"dtype is {dtype!r}, expected one of {sorted(_DTYPES)}")
        self.device = torch.device(device or _best_device())
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
        if str(path_or_name) == COMPACT:
            path = Path(
                str(resources.files("energy_plugin.optical") / "assets/compact.safetensors")
            )
        else:
            path = Path(path_or_name)
            path = path / "model.safetensors" if path.is_dir() else path
            if not path.is_file():
                raise CheckpointError(
                    f"no encoder at {path_or_name!r}: expected {COMPACT!r}, a safetensors file "
                    "written by energy-plugin, or a folder with a model.safetensors"
                )
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
        batch = check_texts(texts)
        sizes = [len(self.typesetter.lines(text)) for text in batch]
        out = self._pooled(
            lambda row: self.typesetter.tiles(batch[row]), sizes, batch_size, show_progress_bar
        )
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
        images: Sequence[Image | NDArray[np.uint8] | str | Path],
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
        tiles = [image_tiles(image, position) for position, image in enumerate(images)]
        out = self._pooled(tiles.__getitem__, list(map(len, tiles)), batch_size, show_progress_bar)
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
        found = []
        for text in check_texts(texts):
            pages = _pages([self.typesetter.tiles(text)], self.model.config.page_tiles)
            found.append(self._tokens(pages).cpu().numpy())
        return found

    def _pooled(
        self,
        tiles_of: Callable[[int], NDArray[np.uint8]],
        sizes: Sequence[int],
        batch_size: int,
        show_progress_bar: bool,
    ) -> Tensor:
        """Weighted mean of the tokens of each item: (n_items, dim)."""
        if batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size}, expected at least 1")
        order = np.argsort(sizes, kind="stable")
        out = torch.zeros(len(sizes), self.dim, device=self.device)
        with tqdm(
            total=len(sizes), desc="Optical encoding", unit="text", disable=not show_progress_bar
        ) as bar:
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                pages = _pages([tiles_of(int(row)) for row in rows], self.model.config.page_tiles)
                tokens = self._tokens(pages)
                out[rows] = self.model.pool(
                    tokens, pages.weights.to(self.device), pages.tiles_of_text.to(self.device)
                )
                bar.update(len(rows))
        return out

    @torch.inference_mode()
    def _tokens(self, pages: _Pages) -> Tensor:
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
        if not 1 <= truncate_dim <= out.shape[-1]:
            raise InvalidInputError(
                f"truncate_dim is {truncate_dim}, expected 1 to {out.shape[-1]}"
            )
        out = out[..., :truncate_dim]
    if normalize_embeddings:
        out = F.normalize(out, dim=-1)
    return out if convert_to_tensor else out.cpu().numpy()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


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
