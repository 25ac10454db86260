"""The energy columns inside Chroma: a companion collection, published by generation.

What stands where
-----------------
======================================= ==================================================
place                                   contents
======================================= ==================================================
companion ``energy-<collection uuid>``  the pointer, as collection metadata
record ``<generation>/field/0``         the field's artefacts, one blob
record ``<generation>/rows/<c>/0``      chunk c: ids, λ, G, cell, residual, fingerprint
record ``.../<token>/<part>``           further parts of a blob that needs several
======================================= ==================================================

A blob is base64 text in the record's metadata, at most 1 MB a record (documents would enter the
full-text index: 84 s for 10 MB). base64 is 130 times faster than base85 and 7 % larger.
A later chunk replaces the rows of an earlier one, so that adding rows appends a chunk.

A new generation g+1 is written beside g; one ``modify`` of the pointer makes it the field; then g
is deleted. Before the flip g is complete, after it g+1 is: a crash anywhere leaves one of them,
and the next write sweeps the rest away.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from chromadb.api.models.Collection import Collection

from energy_chroma.host import ChromaHost
from energy_plugin.energy import packing
from energy_plugin.errors import CorruptFieldError, NotBuiltError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
PART_CHARACTERS = 1_000_000
PARTS_PER_CALL = 8  # a Chroma server refuses requests of about 40 MB


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
    """

    of: str
    dim: int
    embedder: str
    row_columns: bool
    generation: int = 0
    chunks: int = 0
    version: int = 0
    viewed: int = 0


class FieldStore:
    """Reads and writes the companion collection of one host collection."""

    def __init__(self, host: ChromaHost) -> None:
        self._host = host

    # -- reading

    def pointer(self) -> Pointer | None:
        """The current pointer, read anew; None before the first build.

        Raises
        ------
        CorruptFieldError
            Another format version, or keys missing.
        """
        companion = self._host.companion()
        return None if companion is None else self._parse(companion)

    def read(self) -> tuple[Pointer, bytes, list[bytes]]:
        """Pointer, field blob and row chunks.

        Raises
        ------
        NotBuiltError
            There is no field.
        CorruptFieldError
            Records are missing or altered.
        """
        for attempt in range(2):
            companion = self._host.companion()
            pointer = None if companion is None else self._parse(companion)
            if companion is None or pointer is None:
                break
            try:
                field = self._blob(companion, f"{pointer.generation}/field")
                chunks = [
                    self._blob(companion, f"{pointer.generation}/rows/{chunk}")
                    for chunk in range(pointer.chunks)
                ]
            except CorruptFieldError:
                # a writer may have published and deleted this generation meanwhile
                if attempt or self.pointer() == pointer:
                    raise
            else:
                return pointer, field, chunks
        raise NotBuiltError(
            f"Collection {self._host.collection.name!r} has no energy field yet. "
            "Call EnergyCollection(collection).build() once."
        )

    def field_blob(self, pointer: Pointer) -> bytes:
        """The field's artefacts alone.

        Raises
        ------
        CorruptFieldError
            Records are missing or altered.
        """
        companion = self._host.companion()
        if companion is None:
            raise CorruptFieldError("The companion collection is gone. Call build() again.")
        return self._blob(companion, f"{pointer.generation}/field")

    def leftovers(self) -> list[str]:
        """Records that the pointer does not name: of crashed writes."""
        companion = self._host.companion()
        pointer = None if companion is None else self._parse(companion)
        if companion is None or pointer is None:
            return []
        current = companion.get(where={"generation": pointer.generation}, include=[])["ids"]
        surplus = [name for name in current if not _belongs(name, pointer)]
        return [*_elsewhere(companion, pointer.generation), *surplus]

    def tidy(self) -> None:
        """Delete the `leftovers`."""
        companion, records = self._host.companion(), self.leftovers()
        if companion is not None and records:
            companion.delete(ids=records)

    def _parse(self, companion: Collection) -> Pointer | None:
        return pointer_in(dict(companion.metadata or {}), companion.name)

    def _blob(self, companion: Collection, prefix: str) -> bytes:
        first = self._parts(companion, [f"{prefix}/0"])[0]
        stem = f"{prefix}/{first['token']}" if "token" in first else prefix
        count = first["parts"]
        if not _is_whole(count, 1) or (count > 1 and count > companion.count()):
            raise CorruptFieldError(
                f"Record {prefix!r} of {companion.name!r} names {count!r} parts, more than there "
                "are. Call build() again."
            )
        names = [f"{stem}/{part}" for part in range(1, count)]
        texts = [str(first["data"])]
        for start in range(0, len(names), PARTS_PER_CALL):
            for part in self._parts(companion, names[start : start + PARTS_PER_CALL]):
                texts.append(str(part["data"]))
        try:
            return base64.b64decode("".join(texts), validate=True)
        except ValueError as error:
            raise CorruptFieldError(
                f"Record {prefix!r} of {companion.name!r} is not base64 ({error}). "
                "Call build() again."
            ) from error

    def _parts(self, companion: Collection, names: list[str]) -> list[dict[str, Any]]:
        got = companion.get(ids=names, include=["metadatas"])
        found: dict[str, Any] = dict(zip(got["ids"], got["metadatas"] or [], strict=True))
        for name in names:
            if not found.get(name) or not {"parts", "data"} <= set(found[name]):
                raise CorruptFieldError(
                    f"Record {name!r} of {companion.name!r} is missing or incomplete: the energy "
                    "field was altered. Call build() again."
                )
        return [found[name] for name in names]

    # -- writing

    def publish(self, pointer: Pointer, field: bytes, chunks: Iterable[bytes]) -> Pointer:
        """Write a new generation, make it the field, delete the former one.

        Parameters
        ----------
        pointer : Pointer
            Its counters are replaced.
        field : bytes
            The field's artefacts.
        chunks : iterable of bytes
            Packed rows.

        Returns
        -------
        Pointer
            As stored.
        """
        companion = self._host.companion(create=True)
        assert companion is not None
        # raw, so that a field of an unreadable format can be replaced
        before = dict(companion.metadata or {})
        current = _whole(before.get("generation"))
        self._sweep(companion, keep=current)
        generation = current + 1
        self._write(companion, generation, "field", field)
        count = 0
        for chunk in chunks:
            self._write(companion, generation, f"rows/{count}", chunk)
            count += 1
        pointer = replace(
            pointer,
            generation=generation,
            chunks=count,
            version=_whole(before.get("version")) + 1,
            viewed=0,
        )
        self._flip(companion, pointer)
        self._sweep(companion, keep=generation)
        return pointer

    def append(self, pointer: Pointer, chunk: bytes) -> Pointer:
        """Add one chunk of rows to the current generation."""
        companion = self._host.companion()
        if companion is None:
            raise NotBuiltError("The energy field was dropped meanwhile. Call build() again.")
        self._write(companion, pointer.generation, f"rows/{pointer.chunks}", chunk)
        pointer = replace(pointer, chunks=pointer.chunks + 1, version=pointer.version + 1)
        self._flip(companion, pointer)
        return pointer

    def mark_viewed(self, pointer: Pointer) -> Pointer:
        """Note that all rows' metadata show the current generation."""
        companion = self._host.companion()
        if companion is None or pointer.viewed == pointer.generation:
            return pointer
        pointer = replace(pointer, viewed=pointer.generation, version=pointer.version + 1)
        self._flip(companion, pointer)
        return pointer

    def drop(self) -> bool:
        """Delete the companion; False where there was none."""
        if self._host.companion() is None:
            return False
        self._host.delete_companion()
        return True

    def _write(self, companion: Collection, generation: int, name: str, blob: bytes) -> None:
        """Write a blob, its first record last.

        The token keeps the parts of two processes apart that write a blob of one name at the
        same time: the first record that stands names parts of its own.
        """
        text = base64.b64encode(blob).decode("ascii")
        parts = [
            text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)
        ]
        common: dict[str, Any] = {"generation": generation, "parts": len(parts)}
        stem = f"{generation}/{name}"
        if len(parts) > 1:
            common["token"] = secrets.token_hex(4)
            stem = f"{stem}/{common['token']}"
        rest = list(enumerate(parts))[1:]
        for start in range(0, len(rest), PARTS_PER_CALL):
            batch = rest[start : start + PARTS_PER_CALL]
            companion.upsert(
                ids=[f"{stem}/{part}" for part, _ in batch],
                embeddings=np.array([[part] for part, _ in batch], dtype=np.float32),
                metadatas=[{**common, "data": data} for _, data in batch],
            )
        companion.upsert(
            ids=[f"{generation}/{name}/0"],
            embeddings=np.zeros((1, 1), dtype=np.float32),
            metadatas=[{**common, "data": parts[0]}],
        )

    def _flip(self, companion: Collection, pointer: Pointer) -> None:
        companion.modify(metadata={"energy_format": FORMAT_VERSION, **asdict(pointer)})

    def _sweep(self, companion: Collection, keep: int) -> None:
        """Delete the records of every other generation: crashed writes and former fields."""
        others = _elsewhere(companion, keep)
        if others:
            companion.delete(ids=others)
            logger.debug("deleted %d records of former generations", len(others))


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
        pointer = Pointer(**{key: metadata[key] for key in Pointer.__dataclass_fields__})
        _check(pointer)
    except (KeyError, ValueError, RecursionError) as error:
        raise CorruptFieldError(
            f"The pointer in {name!r} is incomplete or altered ({error}). Call build() again."
        ) from error
    return pointer


def _is_whole(value: Any, least: int) -> bool:
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
            right = _is_whole(value, least[name])
        else:
            right = isinstance(value, bool if name == "row_columns" else str)
        if not right:
            raise ValueError(f"{name} is {value!r}")
    identity = json.loads(pointer.embedder)
    named = isinstance(identity, dict) and {"name", "config"} <= set(identity)
    if identity is not None and not (named and isinstance(identity["name"], str)):
        raise ValueError(f"embedder is {pointer.embedder!r}")


def _elsewhere(companion: Collection, keep: int) -> list[str]:
    """Records of all generations but one."""
    others: Any = {"generation": {"$ne": keep}}
    return list(companion.get(where=others, include=[])["ids"])


def _belongs(record: str, pointer: Pointer) -> bool:
    """Whether the pointer names a record of its generation."""
    _, kind, *rest = [*record.split("/"), "", ""]
    if kind == "rows" and rest[0].isdecimal():
        return int(rest[0]) < pointer.chunks
    return kind == "field"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
