"""The optical encoder as an embedding function that Chroma stores and restores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Images, Space
from chromadb.utils.embedding_functions import register_embedding_function
from numpy.typing import NDArray

from energy_chroma import veto
from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.optical.weights.checkpoint import check
from energy_plugin.validation import as_device, as_k

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder

CONFIG_VERSION = 1


@register_embedding_function
class OpticalEmbeddingFunction(EmbeddingFunction[Documents | Images]):
    """Embed texts by typesetting them and reading the page image.

    Chroma rebuilds the function from its stored configuration on every call, so building one does
    not load weights: the first text loads the encoder, and the process shares it. A new function
    only checks that its checkpoint exists and reads its header. If a function failed later, while
    a collection is created, Chroma would replace it with its default function.

    Parameters
    ----------
    model : str, default "compact"
        A bundled model, or the folder or hub name of another one.
    batch_size : int, default 64
        Texts per step of the encoder. Chroma passes up to 5,461 at once.
    truncate_dim : int, optional
        Keep only the first dimensions of each embedding.
    device : str, optional
        Device of the encoder. Not part of the stored configuration, because it does not change the
        meaning of a vector.
    fingerprint : str, optional
        Hash of the weights, typesetter and configuration of the expected encoder. It is filled in
        when the collection is created, and compared with the installed encoder from then on.
    encoder : dict, optional
        Description of that encoder, for the message when it differs.
    recogniser : str, optional
        Hash of the weights of the expected recogniser of print. It is filled in and compared like
        `fingerprint` if images are embedded. Texts do not need it.

    Raises
    ------
    InvalidInputError
        `batch_size` or `truncate_dim` is not a positive integer, `model` is not a name, or
        this machine has no such `device`.
    CheckpointError
        No `fingerprint` is given, and no readable encoder has that name.
    """

    def __init__(
        self,
        model: str = "compact",
        *,
        batch_size: int = 64,
        truncate_dim: int | None = None,
        device: str | None = None,
        fingerprint: str | None = None,
        encoder: dict[str, Any] | None = None,
        recogniser: str | None = None,
    ) -> None:
        if not isinstance(model, (str, Path)):
            raise InvalidInputError(
                f"model must be the name or the path of an encoder, got {model!r}."
            )
        self.model = str(model)  # what JSON can hold
        self.batch_size = as_k(batch_size, name="batch_size")
        self.truncate_dim = (
            None if truncate_dim is None else as_k(truncate_dim, name="truncate_dim")
        )
        self.device = device
        self._fingerprint = fingerprint
        self._description = encoder
        self._recogniser = recogniser
        if fingerprint is None:
            check(self.model)
        if device is not None:
            as_device(device)

    def __call__(self, input: Documents | Images) -> Embeddings:
        """Embed documents: one float32 vector of unit length each.

        Raises
        ------
        InvalidInputError
            A document is empty, None or neither text nor an image array.
        ForeignFieldError
            The installed encoder is not the one the configuration names.
        """
        return self._embed(input, "document")

    def embed_query(self, input: Documents | Images) -> Embeddings:
        """Embed queries, with the encoder's settings for queries."""
        return self._embed(input, "query")

    def _embed(self, items: Any, role: str) -> Embeddings:
        if len(items) == 0:
            raise InvalidInputError("Nothing to embed: the list of documents is empty.")
        encoder = self._encoder()
        images = [isinstance(item, np.ndarray) for item in items]
        if all(images):
            self._same_recogniser(encoder)
            vectors = self._shortened(encoder.encode_images(items, batch_size=self.batch_size))
        elif any(images):
            raise InvalidInputError(
                "Texts and images are mixed in one call; Chroma takes one kind per call. Split it."
            )
        else:
            encode = encoder.encode_query if role == "query" else encoder.encode_document
            vectors = encode(
                list(items), batch_size=self.batch_size, truncate_dim=self.truncate_dim
            )
        return cast(Embeddings, list(np.asarray(vectors, dtype=np.float32)))

    def _shortened(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """`truncate_dim` for images, whose encoder has no such argument."""
        if self.truncate_dim is None:
            return vectors
        short = vectors[:, : self.truncate_dim]
        norms = np.linalg.norm(short, axis=1, keepdims=True)
        return np.asarray(short / np.where(norms > 0, norms, 1), dtype=np.float32)

    def _encoder(self) -> BaseEncoder:
        """The shared encoder, after comparing its fingerprint with the configuration's."""
        from energy_plugin.optical import load_encoder

        encoder = load_encoder(self.model, self.device)
        if self._fingerprint is None:
            self._fingerprint = encoder.fingerprint
            self._description = dict(encoder.config)
            self._recogniser = encoder.recogniser
        elif self._fingerprint != encoder.fingerprint:
            raise ForeignFieldError(
                f"The collection was embedded by the optical encoder {self.model!r} with "
                f"fingerprint {self._fingerprint}; the installed encoder of that name has "
                f"{encoder.fingerprint}. Their vectors cannot be compared. Install the weights "
                "and the version of energy-plugin that made the collection, or embed its "
                "documents again: EnergyCollection(collection).reembed(function). "
                f"Expected {self._description}, got {encoder.config}."
            )
        return encoder

    def _same_recogniser(self, encoder: BaseEncoder) -> None:
        if self._recogniser not in (None, encoder.recogniser):
            raise ForeignFieldError(
                f"The pages of the collection were read by a recogniser of print with fingerprint "
                f"{self._recogniser}, the installed one has {encoder.recogniser}: a page would "
                "get another vector. Texts can be added and searched as before. Install the "
                "version of energy-plugin that read the pages, or embed them again: "
                "EnergyCollection(collection).reembed(function)."
            )

    @staticmethod
    def name() -> str:
        """The key under which Chroma stores and finds the function."""
        return "energy_optical"

    def default_space(self) -> Space:
        """The space of a collection that does not name one."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Unit vectors are ranked equally in all three spaces."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Everything that decides what a vector means; loads the encoder the first time."""
        if self._fingerprint is None:
            self._encoder()
        return {
            "format_version": CONFIG_VERSION,
            "model": self.model,
            "batch_size": self.batch_size,
            "truncate_dim": self.truncate_dim,
            "fingerprint": self._fingerprint,
            "encoder": self._description,
            **({} if self._recogniser is None else {"recogniser": self._recogniser}),
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> OpticalEmbeddingFunction:
        """The function that `get_config` described.

        Raises
        ------
        ForeignFieldError
            A version that this one does not know wrote the configuration.
        """
        OpticalEmbeddingFunction.validate_config(config)
        return OpticalEmbeddingFunction(
            config["model"],
            batch_size=config["batch_size"],
            truncate_dim=config["truncate_dim"],
            fingerprint=config["fingerprint"],
            encoder=config["encoder"],
            recogniser=config.get("recogniser"),
        )

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Refuse a configuration of another version, or one that ``modify`` must not store.

        Raises
        ------
        ForeignFieldError
            Unknown format version, keys missing or of another type; or the collection that is
            being modified holds vectors of another function.
        """
        version = config.get("format_version") if isinstance(config, dict) else None
        if version != CONFIG_VERSION:
            raise ForeignFieldError(
                f"The stored optical embedding function has format version {version!r}, this "
                f"energy-plugin reads {CONFIG_VERSION}. Upgrade energy-plugin if that is later; "
                "otherwise embed all rows again with EnergyCollection(collection).reembed(...)."
            )
        kinds = {"model": str, "batch_size": int, "fingerprint": str, "encoder": dict}
        wrong = [name for name, kind in kinds.items() if not isinstance(config.get(name), kind)]
        if not isinstance(config.get("truncate_dim", 0), (int, type(None))):
            wrong.append("truncate_dim")
        if not isinstance(config.get("recogniser", ""), str):
            wrong.append("recogniser")
        if wrong or "truncate_dim" not in config:
            raise ForeignFieldError(
                f"The stored optical embedding function is incomplete or altered: {wrong} of "
                f"{sorted(config)}. Restore it with EnergyCollection(collection).modify("
                "configuration=...)."
            )
        veto.refuse_in_modify(OpticalEmbeddingFunction.name(), config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise an error for a change that makes the stored vectors meaningless.

        Raises
        ------
        ForeignFieldError
            Model, fingerprint or dimension would change.
        """
        reason = veto.changed(old_config, new_config)
        if reason is not None:
            raise ForeignFieldError(
                f"{reason} Chroma has already stored the change: restore the previous function "
                "with EnergyCollection(collection).modify(configuration=...), or embed all "
                "rows again with EnergyCollection(collection).reembed(embedding_function)."
            )
