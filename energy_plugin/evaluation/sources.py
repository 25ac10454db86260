"""Judged collections with their vectors, ready made or embedded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection, load_collection
from energy_plugin.evaluation.vectors import CollectionVectors, embed_collection, load_vectors


def judged(
    folders: Sequence[Path],
    vectors: Path | None = None,
    encoder: str = "compact",
    *,
    show_progress_bar: bool = False,
) -> Iterator[tuple[JudgedCollection, CollectionVectors]]:
    """Give each collection with its vectors, embedded when they are asked for.

    Parameters
    ----------
    folders : sequence of Path
        Judged collections in BEIR layout.
    vectors : Path, optional
        File of ready vectors (.npz), or a folder of NAME.npz.
    encoder : str
        Name or folder of an encoder; or as `vectors`.

    Raises
    ------
    InvalidInputError
        A folder is not a collection, two have the same name, or vectors are missing.
    """
    collections = [load_collection(folder) for folder in folders]
    _refuse_twins(collections)
    if vectors is not None and not vectors.exists():
        raise InvalidInputError(f"{vectors} does not exist. Give a .npz file or a folder of them.")
    vectors_of = _Vectors(encoder if vectors is None else str(vectors), show_progress_bar)
    for collection in collections:
        yield collection, vectors_of(collection)


class _Vectors:
    """Vectors of a collection from whatever ``--encoder`` names; one model for all."""

    def __init__(self, encoder: str, show_progress_bar: bool) -> None:
        self._bar = show_progress_bar
        self._name = encoder
        path = Path(encoder)
        ready = path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))
        self._ready = path if ready else None
        self._model: Any = None

    def __call__(self, collection: JudgedCollection) -> CollectionVectors:
        if self._ready is not None:
            folder = self._ready.is_dir()
            path = self._ready / f"{collection.name}.npz" if folder else self._ready
            return load_vectors(path, collection)
        if self._model is None:
            from energy_plugin.optical import OpticalEncoder

            self._model = OpticalEncoder.from_pretrained(self._name)
        return embed_collection(collection, self._model, show_progress_bar=self._bar)


def _refuse_twins(collections: Sequence[JudgedCollection]) -> None:
    names = [collection.name for collection in collections]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise InvalidInputError(
            f"Several folders are called {', '.join(twins)}; their results could not be told "
            "apart. Rename one or evaluate them one by one."
        )
