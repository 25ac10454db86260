"""What encoders of both sizes share: checks, batches, images, and print that is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from energy_plugin.errors import InvalidInputError
from energy_plugin.neutral import neutral
from energy_plugin.optical.batching import Reader, all_tokens, as_array, finished, pooled
from energy_plugin.optical.images import Picture, as_documents, as_pictures
from energy_plugin.optical.precision import as_dtype
from energy_plugin.optical.typesetting.overflow import POOL, as_overflow
from energy_plugin.optical.typesetting.tiles import (
    Typesetter,
    check_texts,
)
from energy_plugin.threads import threads_for
from energy_plugin.validation import as_device, as_k

if TYPE_CHECKING:
    from energy_plugin.optical.printed.reader import PrintReader
    from energy_plugin.optical.printed.reading import Reading


class BaseEncoder(ABC):
    """What encoders of both sizes share: texts and pages in, vectors and tokens out.

    Made by `OpticalEncoder.from_pretrained`. The network sees only pixels: a text is typeset
    first, and a page image gives the same vectors as its text.

    Parameters
    ----------
    model : CompactEncoder or FullEncoder
    name : str
        Name of the model in stored configurations.
    fingerprint : str
        Provenance of its vectors, 16 hexadecimal digits.
    device : str, optional
        ``cuda``, ``mps`` or ``cpu``; the default is the first of these that is available.
    dtype : {"float32", "bfloat16", "auto"}, default="float32"
        Precision of the matrix products. bfloat16 is about twice as fast on CPUs and
        GPUs that have it, and half as fast on others; it moves a vector by 2e-4 in cosine at
        most. ``"auto"`` takes it where the device has it. The default gives the same vectors
        everywhere.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        fingerprint: str,
        device: str | None = None,
        dtype: str = "float32",
        on_overflow: str = POOL,
    ) -> None:
        self.on_overflow = as_overflow(on_overflow)
        self.device = as_device(device)
        self.dtype = as_dtype(dtype, self.device)
        self.model: Any = model.to(self.device).eval()
        self.name = name
        self.fingerprint = fingerprint
        self.typesetter: Any = Typesetter()

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of an embedding."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything that a vector depends on, in JSON primitives."""

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

    @overload
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = ...,
        show_progress_bar: bool = ...,
        normalize_embeddings: bool = ...,
        truncate_dim: int | None = ...,
        output: Literal["tokens"],
    ) -> list[NDArray[np.float32]]: ...

    @neutral()
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
        convert_to_tensor: bool = False,
        truncate_dim: int | None = None,
        output: str = "embedding",
    ) -> NDArray[np.float32] | Tensor | list[NDArray[np.float32]]:
        """Typeset and embed texts.

        Parameters
        ----------
        texts : str or sequence of str
            Texts of any length; one that overflows a page continues on further pages,
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
        output : {"embedding", "tokens"}, default="embedding"
            ``"tokens"``: all vision tokens of each text that are not blank, in reading order, for
            multi-vector search.

        Returns
        -------
        ndarray of shape (dim,) for one text, (n_texts, dim) for several, float32
            With ``output="tokens"``, a list with an ndarray (n_tokens, dim) per text.

        Raises
        ------
        InvalidInputError
            A text is not a string, is empty or white space, or overflows its page and
            `on_overflow` is "raise".
        DeviceMemoryError
            A single page does not fit the device.
        """
        if output not in ("embedding", "tokens"):
            raise InvalidInputError(f"output is {output!r}, expected 'embedding' or 'tokens'")
        batch_size = as_k(batch_size, name="batch_size")
        batch = check_texts(texts)
        pages_of, sizes = self._set(batch)
        bar = show_progress_bar
        if output == "tokens":
            with threads_for(self._work(sizes)):
                tokens = all_tokens(self._reader(), pages_of, len(batch), batch_size, bar)
            return [
                as_array(finished(found, normalize_embeddings, truncate_dim)) for found in tokens
            ]
        with threads_for(self._work(sizes)):
            out = pooled(self._reader(), pages_of, sizes, batch_size, bar)
        done = finished(
            out if not isinstance(texts, str) else out[0], normalize_embeddings, truncate_dim
        )
        return done if convert_to_tensor else as_array(done)

    encode_query = encode
    encode_document = encode

    @neutral()
    def encode_images(
        self,
        images: Sequence[Picture],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> NDArray[np.float32]:
        """Embed page images: print, scans, or pages of the typesetter.

        The vectors are in the same space as those of texts. A page of the typesetter gives the
        vector of its text. Print is read line by line, typeset, and embedded like any text.

        Parameters
        ----------
        images : sequence of PIL images, (h, w) or (h, w, 3) uint8 arrays, or paths

        Returns
        -------
        ndarray of shape (n_images, dim), float32

        Raises
        ------
        UnreadablePageError
            A picture is blank, or shows no text that can be read.
        InvalidInputError
            A picture cannot be opened.
        """
        batch_size = as_k(batch_size, name="batch_size")
        pages_of, sizes = self._cut(as_pictures(images))
        out = pooled(self._reader(), pages_of, sizes, batch_size, show_progress_bar)
        return as_array(finished(out, normalize_embeddings))

    @neutral()
    def encode_pages(
        self,
        documents: Sequence[Sequence[Picture]],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> NDArray[np.float32]:
        """Embed documents of several page images, one vector per document.

        Parameters
        ----------
        documents : sequence of sequences of images
            Pages of each document in order, in the formats of `encode_images`. Blank pages do not
            count.

        Returns
        -------
        ndarray of shape (n_documents, dim), float32

        Raises
        ------
        UnreadablePageError
            No page of a document shows text that can be read.
        InvalidInputError
            A picture cannot be opened, or a document has no page.
        """
        batch_size = as_k(batch_size, name="batch_size")
        pages_of, sizes = self._cut_documents(as_documents(documents))
        out = pooled(self._reader(), pages_of, sizes, batch_size, show_progress_bar)
        return as_array(finished(out, normalize_embeddings))

    @neutral()
    def read(self, images: Sequence[Picture], *, show_progress_bar: bool = False) -> list[Reading]:
        """Read the words of printed or scanned pages.

        Parameters
        ----------
        images : sequence of PIL images, (h, w) or (h, w, 3) uint8 arrays, or paths

        Returns
        -------
        list of Reading
            One per image, with words, their boxes and confidences, and `text`; a picture without
            text has no words.

        Raises
        ------
        InvalidInputError
            A picture cannot be opened.
        """
        from tqdm.auto import tqdm

        from energy_plugin.optical.printed.several import in_order

        pictures, reader = as_pictures(images), self.print_reader

        def read(position: int) -> Reading:
            return reader.read(pictures[position], f"images[{position}]")

        found = in_order(read, range(len(pictures)))
        total, hidden = len(pictures), not show_progress_bar
        return list(tqdm(found, "Reading pages", total, unit="page", disable=hidden))

    def encode_and_read(
        self,
        images: Sequence[Picture],
        *,
        batch_size: int = 64,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> tuple[NDArray[np.float32], list[Reading]]:
        """Embed page images and read their words, in one pass over each page.

        Parameters
        ----------
        images : sequence of PIL images, (h, w) or (h, w, 3) uint8 arrays, or paths

        Returns
        -------
        vectors : ndarray of shape (n_images, dim), float32
            As from `encode_images`; zeros if no text can be read.
        readings : list of Reading
            As from `read`; without words if no text can be read.

        Raises
        ------
        InvalidInputError
            A picture cannot be opened.
        """
        vectors = self.encode_images(
            images,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize_embeddings=normalize_embeddings,
        )
        return vectors, self.read(images, show_progress_bar=show_progress_bar)

    def encode_tokens(self, texts: str | Sequence[str]) -> list[NDArray[np.float32]]:
        """Vision tokens of each text as they come from the projector.

        Returns
        -------
        list of ndarray of shape (n_tokens, dim), float32
            Tokens that are not blank, in reading order, not normalised; with the compact encoder,
            one per tile.
        """
        return self.encode(texts, output="tokens", normalize_embeddings=False)

    # What another size of encoder does in its own way: pages, their cost, their reading.

    @cached_property
    def print_reader(self) -> PrintReader:
        """What finds and reads the words of printed pages."""
        from energy_plugin.optical.printed.reader import PrintReader

        return PrintReader.bundled(self.device)

    @cached_property
    def recogniser(self) -> str | None:
        """Provenance of what reads printed pages before they are embedded, if anything does."""
        return None

    def _work(self, sizes: Sequence[int]) -> float:
        """Multiply-adds of reading items of such sizes: each weight about once a line."""
        return float(sum(sizes)) * sum(weight.numel() for weight in self.model.parameters())

    @abstractmethod
    def _set(self, texts: list[str]) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each text, and how large each text is."""

    @abstractmethod
    def _cut(self, images: Sequence[Picture]) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each image, and how large each image is."""

    @abstractmethod
    def _cut_documents(
        self, documents: list[list[Picture]]
    ) -> tuple[Callable[[int], Iterator[Any]], list[int]]:
        """Pages of each document of several images, and how large each document is."""

    @abstractmethod
    def _reader(self) -> Reader:
        """What reads the pages of one call."""
