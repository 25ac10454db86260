"""Checks of arguments that every room shares: vectors, queries, counts, rows and devices."""

from __future__ import annotations

import operator
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    import torch


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b?)")


def _as_float_matrix(x: Any, name: str, *, allow_single: bool) -> NDArray[np.float32]:
    try:
        array = np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"{name} cannot be read as an array ({error}). "
            "Pass a numeric array of shape (n, d) on the CPU, all rows of the same length."
        ) from error
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"{name} must be real numbers, got dtype {array.dtype}. "
            "Pass a float32 array of shape (n, d), all rows of the same length."
        )
    if allow_single and array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        wanted = "(d,) or (n, d)" if allow_single else "(n, d)"
        raise InvalidInputError(
            f"{name} must have shape {wanted}, got shape {array.shape}. "
            "A single vector becomes a matrix with vector[None, :]."
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise InvalidInputError(
            f"{name} must have at least one row and one dimension, got shape {array.shape}."
        )
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    if not matrix.flags.writeable:  # memory of an Arrow table or a file: torch must not share it
        matrix = matrix.copy()
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise InvalidInputError(
            f"{name} must be finite, got NaN or infinity in {bad.size} of {finite.size} rows "
            f"(first: row {int(bad[0])}). Remove these rows or embed them again."
        )
    return matrix


def _check_dim(matrix: NDArray[np.float32], dim: int | None, name: str) -> None:
    if dim is not None and matrix.shape[1] != dim:
        raise InvalidInputError(
            f"{name} have {matrix.shape[1]} dimensions, expected {dim}. "
            "Use the embedder that the energy field was fitted with, or fit a new field."
        )


def as_vectors(x: Any, *, dim: int | None = None, name: str = "vectors") -> NDArray[np.float32]:
    """Check a matrix of vectors.

    Parameters
    ----------
    x : array_like of shape (n, d)
        Real numbers of any float or integer type.
    dim : int, optional
        The number of dimensions that is required.
    name : str, default "vectors"
        What the message calls the argument.

    Returns
    -------
    ndarray of shape (n, d), float32, C-contiguous
        Finite, writeable; a copy only where a conversion was needed or `x` is read-only.
        Rows of zeros are accepted.

    Raises
    ------
    InvalidInputError
        Not numeric, ragged, not two-dimensional, empty, of another dimension, or not finite.
    """
    matrix = _as_float_matrix(x, name, allow_single=False)
    _check_dim(matrix, dim, name)
    return matrix


def as_queries(x: Any, dim: int, *, name: str = "queries") -> NDArray[np.float32]:
    """Check one query `(d,)` or several `(q, d)`; return them as `(q, d)` float32.

    Raises
    ------
    InvalidInputError
        As for `as_vectors`.
    """
    matrix = _as_float_matrix(x, name, allow_single=True)
    _check_dim(matrix, dim, name)
    return matrix


def as_k(k: Any, *, name: str = "k") -> int:
    """Check a number of results.

    Raises
    ------
    InvalidInputError
        Not an integer, or below 1.
    """
    try:
        value = operator.index(k)
    except TypeError:
        value = 0
    if isinstance(k, (bool, np.bool_)) or value < 1:
        raise InvalidInputError(f"{name} must be an integer of at least 1, got {k!r}.")
    return value


def as_probe(n_probe: Any) -> int | None:
    """Check `n_probe` of a search; None for the configuration's choice, and for all cells.

    Raises
    ------
    InvalidInputError
        Not a positive number and not ``"all"``.
    """
    if n_probe is None or (isinstance(n_probe, str) and n_probe == "all"):
        return None
    if isinstance(n_probe, bool) or not isinstance(n_probe, (int, np.integer)) or n_probe < 1:
        raise InvalidInputError(
            f"n_probe must be a positive number of cells or 'all', got {n_probe!r}."
        )
    return int(n_probe)


def as_memory_limit(limit: Any, *, name: str = "memory_limit") -> int | None:
    """Check a limit of memory: a number of bytes, or a text such as ``"2 GB"``; None: no limit.

    kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB powers of 1024; capitals do not
    matter.

    Raises
    ------
    InvalidInputError
        Not positive, or not to be read as a size.
    """
    if limit is None:
        return None
    value = 0.0
    if isinstance(limit, str):
        found = _SIZE.fullmatch(limit.strip().lower())
        if found:
            base = 1024 if found[3] else 1000
            value = float(found[1]) * base ** " kmgt".index(found[2] or " ")
    elif isinstance(limit, (int, np.integer)) and not isinstance(limit, bool):
        value = int(limit)
    if value < 1:
        raise InvalidInputError(
            f"{name} must be a positive number of bytes, or a text such as '512 MB' or '2 GiB', "
            f"got {limit!r}. Leave it out to use as much memory as needed."
        )
    return int(value)


def as_rows(rows: Any, *, name: str = "rows") -> NDArray[np.int64]:
    """Check a list of row numbers; return the distinct ones ascending, int64.

    Raises
    ------
    InvalidInputError
        Not one-dimensional integers (a boolean mask is refused, not guessed at).
    """
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name} must be row numbers, got {rows!r}.") from error
    if array.ndim == 0 and array.dtype.kind in "iu":
        array = array[None]
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{name} must be a one-dimensional array of integers, got dtype {array.dtype} and "
            f"shape {array.shape}. A boolean mask becomes row numbers with np.flatnonzero(mask)."
        )
    return np.unique(array.astype(np.int64))


def as_interval(interval: Any) -> float:
    """Seconds of a `read_consistency_interval`; 0 for None.

    Raises
    ------
    InvalidInputError
        Neither seconds nor a timedelta, or less than none.
    """
    if interval is None:
        return 0.0
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not seconds >= 0:
        raise InvalidInputError(
            f"read_consistency_interval must be seconds or a timedelta of at least 0, got "
            f"{interval!r}. Leave it out to check for changes in every query."
        )
    return float(seconds)


def as_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best one there is: cuda, then mps, then cpu.

    Raises
    ------
    InvalidInputError
        torch does not know the device, or cannot use it on this machine.
    """
    import torch

    if device is not None:
        try:
            asked = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise InvalidInputError(
                f"Unknown device {device!r}; expected 'cuda', 'mps' or 'cpu'."
            ) from error
        try:
            torch.zeros(1, dtype=torch.float32, device=asked).cpu()
        except (RuntimeError, AssertionError, ImportError) as error:
            reason = str(error).partition("\n")[0]
            raise InvalidInputError(
                f"Device {device!r} is not available on this machine ({reason}). "
                "Leave device=None for the best available, or pass 'cpu'."
            ) from error
        return asked
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def as_relevance(least: Any, *, name: str = "min_relevance") -> float | None:
    """Check a least relevance.

    Raises
    ------
    InvalidInputError
        Not a number from 0 to 1.
    """
    if least is None:
        return None
    number = isinstance(least, (int, float, np.integer, np.floating))
    if isinstance(least, bool) or not number or not 0 <= least <= 1:
        raise InvalidInputError(f"{name} must be a number from 0 to 1, got {least!r}.")
    return float(least)
