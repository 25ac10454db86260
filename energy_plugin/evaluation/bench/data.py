"""Vectors to measure on, and what every part needs of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.vectors import normalise

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
DEPTH = 10  # of every ranking that is compared


@dataclass(frozen=True)
class Vectors:
    """Unit rows (n, d) and queries (q, d)."""

    name: str
    rows: FloatArray
    queries: FloatArray

    def first(self, rows: int) -> Vectors:
        """The first rows, all queries."""
        return Vectors(self.name, self.rows[:rows], self.queries)


def read(path: Path, queries: int) -> Vectors:
    """Vectors of a file.

    Parameters
    ----------
    path : Path
        ``.npz`` with `corpus` and `queries`, or ``.npy`` of shape (n, d), whose last rows
        become the queries.
    queries : int
        How many queries to keep.

    Raises
    ------
    InvalidInputError
        No such file, another layout, or too few rows.
    """
    if path.suffix not in {".npz", ".npy"} or not path.is_file():
        raise InvalidInputError(f"{path} is not a .npy or .npz file. Name a file of vectors.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                rows, asked = file["corpus"], file["queries"]
        else:
            everything = np.load(path, mmap_mode="r", allow_pickle=False)
            if everything.ndim != 2 or len(everything) < 2 * queries:
                raise InvalidInputError(
                    f"{path} has shape {everything.shape}, expected (n, d) with at least "
                    f"{2 * queries} rows: the last {queries} are the queries."
                )
            rows, asked = everything[:-queries], everything[-queries:]
    except (KeyError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path} cannot be read as vectors ({error}).") from error
    made, wanted = normalise(rows), normalise(asked)
    return Vectors(path.stem, made[made.any(axis=1)], wanted[wanted.any(axis=1)][:queries])


def exact_top(vectors: Vectors, k: int = DEPTH) -> IntArray:
    """The k rows of largest inner product of each query; (q, k)."""
    import torch

    rows, out = torch.from_numpy(vectors.rows), []
    for start in range(0, len(vectors.queries), 64):
        block = torch.from_numpy(vectors.queries[start : start + 64])
        out.append((block @ rows.T).topk(k, dim=1).indices.numpy())
    return np.concatenate(out)


def recall(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    """Mean share of the wanted rows that were found; both (q, k)."""
    pairs = zip(found.tolist(), wanted.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
