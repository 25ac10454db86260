"""What embeds passages and pages: an optical encoder, a sentence-transformers model, a class."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError, UnreadablePageError

if TYPE_CHECKING:
    from PIL import Image

    from energy_plugin.library.ocr import Ocr

OPTICAL = "compact"
_FEWEST = 3  # letters and digits of a page; fewer are a stain and not a text
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
# Calls that embed a list of texts, in the frameworks' own names.
_DOCUMENT_CALLS = (
    *("encode_document", "embed_documents", "encode", "embed"),
    *("compute_source_embeddings", "get_text_embedding_batch", "__call__"),
)
_QUERY_CALLS = ("encode_query", "embed_query", "get_query_embedding")


class Embedder:
    """Embeds passages, questions and pages.

    Parameters
    ----------
    name : str
        As given: ``compact``, a model's name or folder, or ``module:Class``.
    documents : callable
        List of n texts → n vectors.
    query : callable
        Text → vector.
    dim : int
    model : object
        What stands behind; an `OpticalEncoder` where pages can be embedded.
    optical : bool
    """

    ocr: Ocr | None = None  # reads pages that are pictures, where asked for

    def __init__(
        self,
        name: str,
        documents: Callable[[list[str]], Any],
        query: Callable[[str], Any],
        dim: int,
        model: Any,
        *,
        optical: bool = False,
    ) -> None:
        self.name = name
        self.dim = dim
        self.model = model
        self.optical = optical
        self._documents = documents
        self._query = query

    def encode_document(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, shape (n, dim)."""
        return np.asarray(self._documents(list(texts)), dtype=np.float32)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """Vector of a question, shape (dim,)."""
        return np.asarray(self._query(text), dtype=np.float32).reshape(-1)

    def encode_page(self, seen: Image.Image) -> tuple[str, NDArray[np.float32]]:
        """Text that is read on a page that is a picture, and its vector.

        Raises
        ------
        InvalidInputError
            Nothing on the page can be read, or the embedder takes no pictures.
        """
        text = "" if self.ocr is None else self.ocr(seen).strip()
        if self.ocr is not None and not text:
            raise UnreadablePageError("OCR found no text on the page.")
        if not self.optical:
            if not text:
                raise InvalidInputError(
                    f"the page is a picture, and {self.name!r} embeds only text. Add --ocr "
                    "rapidocr, or index it with the bundled encoder, under another --name."
                )
            return text, self.encode_document([text])[0]
        if text:
            return text, np.asarray(self.model.encode_images([seen])[0], dtype=np.float32)
        vectors, readings = self.model.encode_and_read([seen])
        text = readings[0].text
        if sum(map(str.isalnum, text)) < _FEWEST:
            blank = "the page is blank or shows no text that can be read; scan it again at 150 dpi."
            raise UnreadablePageError(f"the only text on the page is {text!r}." if text else blank)
        return text, np.asarray(vectors[0], dtype=np.float32)


def load_embedder(name: str = OPTICAL) -> Embedder:
    """Load what embeds, by name.

    Parameters
    ----------
    name : str
        ``compact`` or a folder of optical weights; ``module:Class`` of a class whose instances
        embed lists of texts; else a sentence-transformers model.

    Raises
    ------
    InvalidInputError
        The class is not there, or has no call that embeds.
    """
    if name == OPTICAL or _holds_optical_weights(Path(name)):
        from energy_plugin.optical import OpticalEncoder

        model = OpticalEncoder.from_pretrained(name)
        return Embedder(
            name, model.encode_document, model.encode_query, model.dim, model, optical=True
        )
    if _CLASS.fullmatch(name):
        return _from_class(name)
    library = optional("sentence_transformers", "st")
    try:
        found = library.SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"--embedder is {name!r}: not 'compact', not a module:Class, and sentence-transformers "
            f"cannot load it: {error}"
        ) from error
    return _embedder(name, found)


def is_class(name: str) -> bool:
    """Tell whether an embedder is code of the user's own, which runs only where it is named."""
    return _CLASS.fullmatch(name) is not None


def _holds_optical_weights(path: Path) -> bool:
    return path.suffix == ".safetensors" or (
        path.is_dir() and not (path / "modules.json").exists() and any(path.glob("*.safetensors"))
    )


def _from_class(name: str) -> Embedder:
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            f"--embedder is {name!r}, expected module:Class, a class that needs no "
            f"arguments: {error}"
        ) from error
    return _embedder(name, made)


def _embedder(name: str, model: Any) -> Embedder:
    documents = next((getattr(model, c) for c in _DOCUMENT_CALLS if hasattr(model, c)), None)
    if documents is None:
        raise InvalidInputError(
            f"--embedder {name!r} has none of the calls {', '.join(_DOCUMENT_CALLS)}."
        )
    query = next((getattr(model, c) for c in _QUERY_CALLS if hasattr(model, c)), None)

    def ask(text: str) -> Any:
        return query(text) if query is not None else documents([text])[0]

    sample = np.asarray(documents(["a"]), dtype=np.float32)
    if sample.ndim != 2 or len(sample) != 1:
        raise InvalidInputError(
            f"--embedder {name!r} gave an array of shape {sample.shape} for one text, expected "
            "(1, dim)."
        )
    return Embedder(name, documents, ask, sample.shape[1], model)
