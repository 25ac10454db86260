"""One random rotation per field, rebuilt from its seed.

Three rounds of random signs, a random permutation and a Walsh–Hadamard transform over blocks
of powers of two. Signs and permutations come from an integer hash, so that the rotation is
the same with every version of every library.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 64
ROUNDS = 3


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """`count` pseudo-random words (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        step = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed & 0xFFFFFFFFFFFFFFFF) + step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _hadamard_blocks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal Walsh–Hadamard transform of each power-of-two block of the last axis."""
    start, width = 0, rows.shape[1]
    rows = rows.copy()
    while start < width:
        size = 1 << ((width - start).bit_length() - 1)
        block = rows[:, start : start + size]
        half = 1
        while half < size:
            pairs = block.reshape(len(rows), size // (2 * half), 2, half)
            block = np.stack(
                [pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2
            ).reshape(len(rows), size)
            half *= 2
        rows[:, start : start + size] = block / np.sqrt(size)
        start += size
    return rows


@lru_cache(maxsize=4)
def rotation(dim: int, seed: int) -> NDArray[np.float32]:
    """An orthogonal matrix of shape (dim, dim), read-only; the same seed gives the same bytes."""
    matrix = np.empty((dim, dim), dtype=np.float32)
    words = splitmix64(seed, 2 * ROUNDS * dim).reshape(ROUNDS, 2, dim)
    for start in range(0, dim, BLOCK_ROWS):  # the rows are independent
        rows = np.eye(min(BLOCK_ROWS, dim - start), dim, start)
        for signs, keys in words:
            rows = rows * np.where(signs >> np.uint64(63), -1.0, 1.0)
            rows = rows[:, np.argsort(keys, kind="stable")]
            rows = _hadamard_blocks(rows)
        matrix[start : start + len(rows)] = rows
    matrix.flags.writeable = False
    return matrix
