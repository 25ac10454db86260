"""Vectors of a judged collection: embedded now, or read from a file."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection

if TYPE_CHECKING:
    from energy_plugin.optical import BaseEncoder

FloatArray = npt.NDArray[np.float32]

_DAMAGE = (  # what numpy and zipfile raise on broken files
    *(OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, SyntaxError),
    *(TypeError, MemoryError, OverflowError, zipfile.BadZipFile, zlib.error),
)
_KEYS = ("corpus", "queries", "corpus_ids", "query_ids")


@dataclass(frozen=True)
class CollectionVectors:
    """Unit vectors of a collection, in the order of its documents and queries.

    Attributes
    ----------
    corpus : ndarray of shape (n, d), float32
        Unit norm; a zero row where the document has no text.
    queries : ndarray of shape (q, d), float32
        Unit norm; a zero row where the query has no text.
    """

    corpus: FloatArray
    queries: FloatArray

    def save(self, path: str | Path, collection: JudgedCollection) -> None:
        """Write the vectors as float16 with their ids, readable by `load_vectors`."""
        np.savez_compressed(
            path,
            corpus=self.corpus.astype(np.float16),
            queries=self.queries.astype(np.float16),
            corpus_ids=np.array(list(collection.corpus)),
            query_ids=np.array(list(collection.queries)),
        )


def normalise(vectors: npt.ArrayLike) -> FloatArray:
    """Scale every row to unit length in float32; zero rows stay zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, np.float32(1))


def embed_collection(
    collection: JudgedCollection,
    encoder: BaseEncoder,
    *,
    batch_size: int = 64,
    show_progress_bar: bool = False,
) -> CollectionVectors:
    """Embed documents and queries; texts without a character get a zero vector."""

    def embed(texts: Mapping[str, str], *, as_query: bool) -> FloatArray:
        vectors = np.zeros((len(texts), encoder.dim), dtype=np.float32)
        filled = [i for i, text in enumerate(texts.values()) if text.strip()]
        encode = encoder.encode_query if as_query else encoder.encode_document
        values = list(texts.values())
        if filled:
            vectors[filled] = encode(
                [values[i] for i in filled],
                batch_size=batch_size,
                show_progress_bar=show_progress_bar,
            )
        return normalise(vectors)

    return CollectionVectors(
        corpus=embed(collection.corpus, as_query=False),
        queries=embed(collection.queries, as_query=True),
    )


def load_vectors(path: str | Path, collection: JudgedCollection) -> CollectionVectors:
    """Read ready vectors (npz: corpus, queries, corpus_ids, query_ids), matched by id.

    Raises
    ------
    InvalidInputError
        The file is no such archive, or lacks a document or query of the collection.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in _KEYS if key not in archive]
            if missing:
                raise InvalidInputError(
                    f"{path} lacks {', '.join(missing)}; got {', '.join(archive.files)}, "
                    f"expected {', '.join(_KEYS)}."
                )
            for entry in archive.zip.infolist():
                _check_size(archive.zip, entry)
            corpus, queries, corpus_ids, query_ids = (archive[key] for key in _KEYS)
    except _DAMAGE as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path} cannot be read as vectors (npz): {error}") from error
    return CollectionVectors(
        corpus=_pick(path, "corpus", corpus, corpus_ids, collection.corpus),
        queries=_pick(path, "queries", queries, query_ids, collection.queries),
    )


def _check_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Compare the shape that an array names with the bytes there are, before memory is taken.

    Raises
    ------
    ValueError
        They differ.
    """
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        named = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or named != entry.file_size - file.tell() or min(shape, default=0) < 0:
            raise ValueError(f"{entry.filename} names {named} bytes of {dtype}")


def _pick(
    path: str | Path,
    key: str,
    vectors: npt.NDArray[np.generic],
    ids: npt.NDArray[np.generic],
    wanted: Iterable[str],
) -> FloatArray:
    if vectors.ndim != 2 or ids.ndim != 1 or len(vectors) != len(ids):
        raise InvalidInputError(
            f"{path}: {key} has shape {vectors.shape} for ids of shape {ids.shape}, expected one "
            "row per id."
        )
    if vectors.dtype.kind not in "fiu" or not np.isfinite(vectors).all():
        raise InvalidInputError(f"{path}: {key} are {vectors.dtype}, expected finite numbers.")
    try:
        rows = {str(name): row for row, name in enumerate(ids)}
    except (ValueError, SystemError) as error:  # numpy's, for what is not a character
        raise InvalidInputError(f"{path}: the ids of {key} are not text ({error}).") from error
    names = list(wanted)
    absent = [name for name in names if name not in rows]
    if absent:
        raise InvalidInputError(
            f"{path}: {key} lacks {len(absent)} of {len(names)} ids (first: {absent[0]!r}). "
            "The vectors belong to another collection, or to an older version of it."
        )
    return normalise(vectors[[rows[name] for name in names]])
