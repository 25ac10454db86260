"""The judged collection of ``--data`` with the vectors of ``--vectors``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from energy_plugin.evaluation.collection import JudgedCollection
    from energy_plugin.evaluation.vectors import CollectionVectors


def judged(data: Path, vectors: Path | None) -> tuple[JudgedCollection, CollectionVectors]:
    """Read both.

    Raises
    ------
    InvalidInputError
        No vectors are given, or a file cannot be used.
    """
    from energy_plugin.errors import InvalidInputError
    from energy_plugin.evaluation.collection import load_collection
    from energy_plugin.evaluation.vectors import load_vectors

    if vectors is None:
        raise InvalidInputError("--data needs --vectors, the file of its vectors.")
    collection = load_collection(data)
    return collection, load_vectors(vectors, collection)
