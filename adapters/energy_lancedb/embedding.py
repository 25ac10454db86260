"""The embedding function that LanceDB stores with a table: text → page → vector."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from lancedb.embeddings import TextEmbeddingFunction, get_registry
from numpy.typing import NDArray

from energy_plugin.energy.codec.packing import newer
from energy_plugin.errors import EnergyPluginError, ForeignFieldError, InvalidInputError
from energy_plugin.validation import as_k

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder

ALIAS = "energy-optical"
FORMAT_VERSION = 1
REGISTRY: Any = get_registry()
_raised: deque[EnergyPluginError] = deque(maxlen=64)  # while rows were embedded


def error_behind(error: Exception) -> EnergyPluginError | None:
    """The error of this project that LanceDB turned into `error`, if there is one.

    Rows are embedded below LanceDB's Rust code, which keeps only the text of an exception.
    """
    text = str(error)
    return next((own for own in reversed(_raised) if str(own) in text), None)


def _encoder(model: str, device: str | None) -> BaseEncoder:
    from energy_plugin.optical import load_encoder

    return load_encoder(model, device)


@REGISTRY.register(ALIAS)
class OpticalEmbeddingFunction(TextEmbeddingFunction):  # type: ignore[misc,unused-ignore]
    """Optical encoder as a LanceDB embedding function, registered as ``energy-optical``.

    LanceDB stores only the arguments of `create` and builds the function several times per call.
    Therefore `create` stores every argument, building costs nothing, and the first text loads the
    model, once per process.

    Parameters
    ----------
    model : str, default "compact"
        Name of a bundled encoder or a local folder.
    dim : int
        Dimensions of the vectors.
    fingerprint : str
        Hash of weights, typesetter and configuration. An encoder with another fingerprint raises
        an error, because its vectors cannot be compared with the stored ones.
    typesetter : int
        Version of the typesetter, for people who read the stored arguments; the fingerprint
        covers it.
    recogniser : str
        Hash of the weights that read printed pages. Another recogniser raises an error if images
        are embedded. Texts do not need it.
    paths : bool, default False
        Strings of the source column are paths or ``file://`` addresses of page images.
    format_version : int
        Version of these arguments; an unknown version raises an error when a text is embedded.
    batch_size : int, default 64
        Texts in one step of the encoder.
    device : str, optional
        "cuda", "mps" or "cpu"; by default the best available.
    max_retries : int, default 0
        LanceDB's retries with exponential sleep. Not used: they do not help a local model.
    """

    model: str = "compact"
    dim: int = 0
    fingerprint: str = ""
    typesetter: int = 0
    recogniser: str = ""
    paths: bool = False
    format_version: int = 0
    batch_size: int = 64
    device: str | None = None
    max_retries: int = 0

    @classmethod
    def create(cls, **kwargs: Any) -> OpticalEmbeddingFunction:
        """Build the function, and store every argument.

        The encoder is loaded only if `dim` or `fingerprint` is missing. If LanceDB rebuilds the
        function of a stored table, both are given.
        """
        arguments: dict[str, Any] = {
            "model": "compact",
            "batch_size": 64,
            "device": None,
            "max_retries": 0,
            "paths": False,
            "format_version": FORMAT_VERSION,
            **kwargs,
        }
        if not arguments.get("fingerprint") or not arguments.get("dim"):
            encoder = _encoder(arguments["model"], arguments["device"])
            arguments.update(
                dim=encoder.dim,
                fingerprint=encoder.fingerprint,
                typesetter=int(encoder.config["typesetter_version"]),
                recogniser=encoder.recogniser or "",
            )
        base: Any = super()
        function: OpticalEmbeddingFunction = base.create(**arguments)
        return function

    def ndims(self) -> int:
        """Dimensions of the vectors."""
        return self.dim

    def encoder(self) -> BaseEncoder:
        """The encoder of this process, checked against the stored fingerprint.

        Raises
        ------
        ForeignFieldError
            The installed encoder is not the one that made the stored vectors, or another release
            wrote the arguments.
        """
        if self.format_version != FORMAT_VERSION:
            what = "The stored embedding function of the table"
            raise ForeignFieldError(newer(what, self.format_version, FORMAT_VERSION))
        encoder = _encoder(self.model, self.device)
        if encoder.fingerprint != self.fingerprint:
            raise ForeignFieldError(
                f"The installed encoder {self.model!r} has the fingerprint {encoder.fingerprint}, "
                f"expected {self.fingerprint}: the table's vectors were made by other weights or "
                "another typesetter. Install the version of energy-plugin that wrote the table, "
                "or embed its texts again into a new table."
            )
        return encoder

    def compute_source_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed documents: texts, or page images as bytes of a file, paths or PIL images."""
        inputs = list(self.sanitize_input(texts))
        if not self.paths and not any(_is_picture(one) for one in inputs):
            return self.generate_embeddings(inputs)
        if not all(_is_picture(one) or (self.paths and isinstance(one, str)) for one in inputs):
            raise InvalidInputError(
                "The source column has images and other values; expected an image in every row."
            )
        return self._pages(inputs)

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed documents, one float32 vector of shape (d,) each."""
        return self._vectors(self.encoder().encode_document, list(texts))

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed one query or several, one float32 vector of shape (d,) each.

        A PIL image, the bytes of an image file, or its `pathlib.Path`, is read as a page.
        """
        if _is_picture(query):
            return self._pages([query])
        return self._vectors(self.encoder().encode_query, list(self.sanitize_input(query)))

    # LanceDB's wrapper turns every error into a bare Exception once its retries are used up.

    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """`compute_query_embeddings`, whose errors keep their type."""
        return self.compute_query_embeddings(*args, **kwargs)

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """`compute_source_embeddings`, whose errors keep their type."""
        try:
            found: list[Any] = self.compute_source_embeddings(*args, **kwargs)
        except EnergyPluginError as error:
            _raised.append(error.with_traceback(None))
            raise
        return found

    def _pages(self, inputs: list[Any]) -> list[NDArray[np.float32]]:
        encoder = self.encoder()
        if self.recogniser and self.recogniser != encoder.recogniser:
            raise ForeignFieldError(
                f"The pages of the table were read by a recogniser of print with fingerprint "
                f"{self.recogniser}, the installed one has {encoder.recogniser}: the same page "
                "would get another vector. Texts can be added and searched as before. Install the "
                "version of energy-plugin that read the pages, or embed them again into a new "
                "table."
            )
        return self._vectors(encoder.encode_images, [_picture(one) for one in inputs])

    def _vectors(self, encode: Any, inputs: list[Any]) -> list[NDArray[np.float32]]:
        if not inputs:
            return []
        return list(np.asarray(encode(inputs, batch_size=self.batch_size), dtype=np.float32))


def _is_picture(one: Any) -> bool:
    """Whether a document is a page image: a PIL image, the bytes of a file, or its path."""
    return isinstance(one, bytes | Path) or (hasattr(one, "convert") and hasattr(one, "size"))


def _picture(one: Any) -> Any:
    if isinstance(one, str):
        return Path(url2pathname(urlsplit(one).path)) if one.startswith("file:") else Path(one)
    if not isinstance(one, bytes):
        return one
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(one))
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidInputError(
            f"A document of {len(one)} bytes is not an image that Pillow reads ({error}). "
            "Store the bytes of a PNG or JPEG file."
        ) from error
    return picture


def optical(
    model: str = "compact",
    *,
    batch_size: int = 64,
    device: str | None = None,
    paths: bool = False,
) -> OpticalEmbeddingFunction:
    """Make the optical embedding function for a new table.

    Parameters
    ----------
    model : str, default "compact"
        Name of a bundled encoder or a local folder.
    batch_size : int, default 64
        Texts in one step of the encoder.
    device : str, optional
        "cuda", "mps" or "cpu". It is stored with the table, so leave it out if the table
        will be opened on other machines.
    paths : bool, default False
        The source column has paths or ``file://`` addresses of page images. Questions are still
        texts.

    Examples
    --------
    >>> function = optical()                                    # doctest: +SKIP
    >>> class Page(LanceModel):                                 # doctest: +SKIP
    ...     text: str = function.SourceField()
    ...     vector: Vector(function.ndims()) = function.VectorField()
    """
    batch_size = as_k(batch_size, name="batch_size")
    return OpticalEmbeddingFunction.create(
        model=model, batch_size=batch_size, device=device, paths=bool(paths)
    )
