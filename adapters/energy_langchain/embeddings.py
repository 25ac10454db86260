"""The optical encoder as LangChain embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from energy_plugin.validation import as_device, as_k

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder


class OpticalEmbeddings(Embeddings):
    """Embed texts by typesetting them and reading the page image.

    Nothing is loaded before the first text; the process shares one model.

    Parameters
    ----------
    model : str, default "compact"
        A bundled encoder, or the folder or hub name of another one.
    batch_size : int, default 64
        Texts in one step of the encoder.
    truncate_dim : int, optional
        Keep only the first dimensions, at unit length again.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.

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
    ) -> None:
        self.model = str(model)
        self.batch_size = as_k(batch_size, name="batch_size")
        self.truncate_dim = (
            None if truncate_dim is None else as_k(truncate_dim, name="truncate_dim")
        )
        self.device = device
        if device is not None:
            as_device(device)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents: one list of floats of unit length each.

        Raises
        ------
        InvalidInputError
            A text is empty.
        CheckpointError
            No readable encoder has that name.
        """
        if not texts:
            return []
        vectors: list[list[float]] = (
            self._encoder()
            .encode_document(
                list(texts), batch_size=self.batch_size, truncate_dim=self.truncate_dim
            )
            .tolist()
        )
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        vector: list[float] = (
            self._encoder().encode_query(text, truncate_dim=self.truncate_dim).tolist()
        )
        return vector

    def _encoder(self) -> BaseEncoder:
        from energy_plugin.optical import load_encoder

        return load_encoder(self.model, self.device)
