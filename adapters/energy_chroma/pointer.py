"""The pointer: which records of a companion are the field."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from energy_plugin.energy.codec import packing
from energy_plugin.errors import CorruptFieldError

FORMAT_VERSION = 1
NO_SHARE = -1.0
_LATER = ("words", "share")  # keys that fields have since they can hold words


@dataclass(frozen=True)
class Pointer:
    """Which records are the field; the companion's collection metadata.

    Parameters
    ----------
    of : str
        Uuid of the user's collection.
    dim : int
        Dimension of its vectors.
    embedder : str
        JSON of what embedded them, ``"null"`` where Chroma knows nothing.
    row_columns : bool
        Whether λ, G and cell also stand in the rows' metadata.
    generation : int
        Of the records.
    chunks : int
        Chunks of rows in this generation.
    version : int
        Grows with every change, so that readers see that there was one.
    viewed : int
        Generation whose values all rows' metadata show; below `generation` after a crash.
    words : str
        Identity of the tokenizer that read the words of the documents; empty without words.
    share : float
        Share of the words in a hybrid query that names none; `NO_SHARE` where none was learned.
    """

    of: str
    dim: int
    embedder: str
    row_columns: bool
    generation: int = 0
    chunks: int = 0
    version: int = 0
    viewed: int = 0
    words: str = ""
    share: float = NO_SHARE

    @property
    def language(self) -> str | None:
        """Language of the stored words, None without any."""
        return self.words.rpartition("/")[0] or None


def identity_text(identity: dict[str, Any] | None) -> str:
    """The embedder's identity as the pointer stores it."""
    return json.dumps(identity, sort_keys=True)


def embedder_of(pointer: Pointer) -> dict[str, Any] | None:
    """What `identity_text` was given."""
    identity: dict[str, Any] | None = json.loads(pointer.embedder)
    return identity


def pointer_in(metadata: dict[str, Any], name: str) -> Pointer | None:
    """The pointer in a companion's metadata; None where no field was built.

    Raises
    ------
    CorruptFieldError
        Another format version, keys missing, or values that are not as they are written.
    """
    if "energy_format" not in metadata:
        return None
    version = metadata["energy_format"]
    if version != FORMAT_VERSION:
        what = f"The energy field in {name!r}"
        raise CorruptFieldError(packing.newer(what, version, FORMAT_VERSION))
    try:
        pointer = Pointer(
            **{
                key: metadata[key]
                for key in Pointer.__dataclass_fields__
                if key in metadata or key not in _LATER
            }
        )
        _check(pointer)
    except (KeyError, ValueError, RecursionError) as error:
        raise CorruptFieldError(
            f"The pointer in {name!r} is incomplete or altered ({error}). Call build() again."
        ) from error
    return pointer


def is_whole(value: Any, least: int) -> bool:
    """Whether something read is an integer, of at least that."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(pointer: Pointer) -> None:
    """Types and ranges of what was read.

    Raises
    ------
    ValueError
        One is not as it is written.
    """
    least = {"dim": 1, "generation": 0, "chunks": 0, "version": 0, "viewed": 0}
    for name, value in asdict(pointer).items():
        if name in least:
            right = is_whole(value, least[name])
        elif name == "share":
            right = isinstance(value, float) and (value == NO_SHARE or 0 <= value <= 1)
        else:
            right = isinstance(value, bool if name == "row_columns" else str)
        if not right:
            raise ValueError(f"{name} is {value!r}")
    identity = json.loads(pointer.embedder)
    named = isinstance(identity, dict) and {"name", "config"} <= set(identity)
    if identity is not None and not (named and isinstance(identity["name"], str)):
        raise ValueError(f"embedder is {pointer.embedder!r}")
