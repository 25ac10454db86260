"""The optical encoder as Haystack components, for questions and for documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from haystack import Document, component, default_from_dict, default_to_dict

from energy_plugin.validation import as_device, as_k

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder


class _Settings:
    """What both components are told."""

    def __init__(
        self, model: str, batch_size: int, truncate_dim: int | None, device: str | None
    ) -> None:
        self.model = str(model)
        self.batch_size = as_k(batch_size, name="batch_size")
        self.truncate_dim = (
            None if truncate_dim is None else as_k(truncate_dim, name="truncate_dim")
        )
        self.device = device
        if device is not None:
            as_device(device)

    def encoder(self) -> BaseEncoder:
        from energy_plugin.optical import load_encoder

        return load_encoder(self.model, self.device)


@component
class OpticalTextEmbedder:
    """Embed a question by typesetting it and reading the page image.

    Parameters
    ----------
    model : str, default "compact"
        A bundled encoder, or the folder or hub name of another one.
    truncate_dim : int, optional
        Keep only the first dimensions, at unit length again.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.

    Raises
    ------
    InvalidInputError
        `truncate_dim` is not a positive integer, or this machine has no such device.
    """

    def __init__(
        self,
        model: str = "compact",
        *,
        truncate_dim: int | None = None,
        device: str | None = None,
    ) -> None:
        self._settings = _Settings(model, 1, truncate_dim, device)

    def to_dict(self) -> dict[str, Any]:
        """Settings as Haystack stores them."""
        mine = self._settings
        data: dict[str, Any] = default_to_dict(
            self, model=mine.model, truncate_dim=mine.truncate_dim, device=mine.device
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OpticalTextEmbedder:
        """The component that `to_dict` described."""
        made: OpticalTextEmbedder = default_from_dict(cls, data)
        return made

    def warm_up(self) -> None:
        """Load the encoder; the process shares it."""
        self._settings.encoder()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed one question: ``{"embedding": (d,) floats of unit length}``."""
        encoder = self._settings.encoder()
        return {
            "embedding": encoder.encode_query(
                text, truncate_dim=self._settings.truncate_dim
            ).tolist()
        }

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, text)


@component
class OpticalDocumentEmbedder:
    """Embed documents by typesetting them and reading the page images.

    Parameters
    ----------
    model : str, default "compact"
        A bundled encoder, or the folder or hub name of another one.
    batch_size : int, default 64
        Texts in one step of the encoder.
    truncate_dim : int, optional
        Keep only the first dimensions, at unit length again.
    device : str, optional
    meta_fields_to_embed : sequence of str
        Metadata to put before the text.
    embedding_separator : str, default newline
        Between them.

    Raises
    ------
    InvalidInputError
        A number is not a positive integer, or this machine has no such device.
    """

    def __init__(
        self,
        model: str = "compact",
        *,
        batch_size: int = 64,
        truncate_dim: int | None = None,
        device: str | None = None,
        meta_fields_to_embed: Sequence[str] = (),
        embedding_separator: str = "\n",
    ) -> None:
        self._settings = _Settings(model, batch_size, truncate_dim, device)
        self.meta_fields_to_embed = list(meta_fields_to_embed)
        self.embedding_separator = embedding_separator

    def to_dict(self) -> dict[str, Any]:
        """Settings as Haystack stores them."""
        mine = self._settings
        data: dict[str, Any] = default_to_dict(
            self,
            model=mine.model,
            batch_size=mine.batch_size,
            truncate_dim=mine.truncate_dim,
            device=mine.device,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OpticalDocumentEmbedder:
        """The component that `to_dict` described."""
        made: OpticalDocumentEmbedder = default_from_dict(cls, data)
        return made

    def warm_up(self) -> None:
        """Load the encoder; the process shares it."""
        self._settings.encoder()

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents: ``{"documents": copies with their embedding}``.

        Raises
        ------
        InvalidInputError
            A document has no text.
        """
        if not documents:
            return {"documents": []}
        texts = [self._text(document) for document in documents]
        vectors = self._settings.encoder().encode_document(
            texts, batch_size=self._settings.batch_size, truncate_dim=self._settings.truncate_dim
        )
        return {
            "documents": [
                replace(document, embedding=vector.tolist())
                for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """As `run`, in a thread."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        fields = (document.meta.get(name) for name in self.meta_fields_to_embed)
        parts = [str(value) for value in fields if value is not None]
        return self.embedding_separator.join([*parts, document.content or ""])
