"""Arrays to bytes and back: one safetensors blob with a checksum, never a pickle.

Stored bytes
------------
=========== =========== ===================================================
bytes       name        meaning
=========== =========== ===================================================
8           magic       ``ENERGYP1``: format and its version
16          checksum    blake2b-128 of everything behind it
rest        body        safetensors: named arrays and a string-to-string map
=========== =========== ===================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import CorruptFieldError, InvalidInputError

MAGIC = b"ENERGYP1"
CHECKSUM_BYTES = 16
_HEAD = len(MAGIC) + CHECKSUM_BYTES


def _checksum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECKSUM_BYTES).digest()


def dumps(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Pack arrays and their description; the same input gives the same bytes.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Plain numeric arrays of any shape, also empty ones.
    metadata : mapping of str to str
        What a reader needs to understand the arrays.

    Raises
    ------
    InvalidInputError
        An array holds objects or text.
    """
    from safetensors.numpy import save

    plain: dict[str, NDArray[Any]] = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in "fiub":
            raise InvalidInputError(
                f"array {name!r} has dtype {array.dtype}; only plain numbers can be packed."
            )
        plain[name] = np.ascontiguousarray(array).reshape(array.shape)
    # safetensors writes its string map in hash order, which differs between processes:
    # one sorted JSON entry keeps the bytes the same
    body = save(plain, metadata={"metadata": _sorted_json(metadata)})
    return MAGIC + _checksum(body) + body


def loads(blob: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Unpack what `dumps` packed.

    Returns
    -------
    arrays : dict of str to ndarray
        Writable copies.
    metadata : dict of str to str

    Raises
    ------
    CorruptFieldError
        Another format or version, a wrong checksum, or bytes cut off.
    """
    import json

    from safetensors import SafetensorError
    from safetensors.numpy import load

    blob = bytes(blob)
    start = blob[: len(MAGIC)]
    if start != MAGIC:
        if start[:-1] == MAGIC[:-1] and start[-1:].isdigit():
            raise CorruptFieldError(newer("These bytes", start[-1:].decode(), MAGIC[-1:].decode()))
        raise CorruptFieldError(
            f"These bytes do not start with {MAGIC!r} (got {start!r}): they are not energy data, "
            "or altered. Restore them from a backup or build again."
        )
    body = blob[_HEAD:]
    if blob[len(MAGIC) : _HEAD] != _checksum(body):
        raise CorruptFieldError(
            f"The checksum of {len(blob)} stored bytes is wrong: they are cut off or altered. "
            "Restore them from a backup or build again."
        )
    try:
        arrays = {name: np.array(array) for name, array in load(body).items()}
        length = int.from_bytes(body[:8], "little")
        head = json.loads(body[8 : 8 + length])
        metadata = json.loads(head["__metadata__"]["metadata"])
        if not isinstance(metadata, dict):
            raise TypeError(f"its description is {metadata!r}")
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFieldError(
            f"The stored arrays cannot be read ({error}). Build again."
        ) from error
    return arrays, {str(key): str(value) for key, value in metadata.items()}


def check_version(
    metadata: Mapping[str, str], known: int, what: str, *, oldest: int | None = None
) -> None:
    """Refuse another format version than the one known, or those from `oldest` to it.

    Raises
    ------
    CorruptFieldError
        It says whether to upgrade energy-plugin or to build again.
    """
    version = metadata.get("format_version")
    if version not in {str(each) for each in range(oldest or known, known + 1)}:
        raise CorruptFieldError(newer(what, version, known))


def newer(what: str, got: object, known: object) -> str:
    """What to say about a format version that is not known.

    Parameters
    ----------
    what : str
        What has the version.
    got : object
        The version that was read.
    known : object
        The one that this release reads.
    """
    later = str(got).isdecimal() and len(str(got)) < 10 and int(str(got)) > int(str(known))
    remedy = (
        "A later release wrote it: upgrade energy-plugin (pip install -U energy-plugin), or build "
        "again with this one."
        if later
        else "Build again."
    )
    has = "have" if what.startswith("These") else "has"
    return (
        f"{what} {has} the format version {got!r}, this release of energy-plugin reads {known}. "
        f"{remedy}"
    )


def _sorted_json(metadata: Mapping[str, str]) -> str:
    import json

    return json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False)
