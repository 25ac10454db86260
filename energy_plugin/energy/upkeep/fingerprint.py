"""A 32-bit fingerprint per vector: finds rows that were changed behind the index."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.validation import as_vectors


def fingerprint(vectors: Any) -> NDArray[np.uint32]:
    """Hash the float32 bytes of each row.

    Parameters
    ----------
    vectors : array_like of shape (n, d)
        Read as float32, little-endian; −0 counts as 0, so that equal rows hash equally.

    Returns
    -------
    ndarray of shape (n,), uint32
        CRC-32 of the row. Two different rows agree once in 2³²; a change of any single
        component is always seen.

    Raises
    ------
    InvalidInputError
        See `energy_plugin.validation.as_vectors`.
    """
    matrix = as_vectors(vectors) + np.float32(0.0)
    matrix = matrix.astype("<f4", copy=False)
    return np.fromiter((zlib.crc32(row) for row in matrix), dtype=np.uint32, count=len(matrix))
