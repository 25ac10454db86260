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

Several processes may write. Each looks before it flips whether its records still stand and the
pointer is where it was; if not, it writes again under the next number. Between that look and the
flip another may still be faster by milliseconds. Then the pointer can name a generation that has
just been deleted, which readers notice and put right by the generation that stands.
"""

from __future__ import annotations

import base64
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

import numpy as np
from chromadb.api.models.Collection import Collection

from energy_chroma import generations
from energy_chroma.host import ChromaHost
from energy_chroma.pointer import FORMAT_VERSION, Pointer, is_whole, pointer_in
from energy_plugin.errors import CorruptFieldError, NotBuiltError
from energy_plugin.stored.moments import Moment, reached

logger = logging.getLogger(__name__)

PART_CHARACTERS = 1_000_000
ATTEMPTS = 20  # at what another process was faster with
PAUSE = 0.05  # seconds, at most, before another attempt
PARTS_PER_CALL = 8  # a Chroma server refuses requests of about 40 MB


class FieldStore:
    """Reads and writes the companion collection of one host collection."""

    def __init__(self, host: ChromaHost) -> None:
        self._host = host

    # -- reading

    def pointer(self) -> Pointer | None:
        """The current pointer, read again; None before the first build.

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
        for attempt in range(ATTEMPTS):
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
                if attempt + 1 == ATTEMPTS or not self._moves(companion, pointer):
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
        return [*generations.others(companion, pointer.generation), *surplus]

    def tidy(self) -> None:
        """Delete the `leftovers`."""
        companion, records = self._host.companion(), self.leftovers()
        if companion is not None and records:
            reached(Moment.WRITING)
            companion.delete(ids=records)

    def _parse(self, companion: Collection) -> Pointer | None:
        return pointer_in(dict(companion.metadata or {}), companion.name)

    def _blob(self, companion: Collection, prefix: str) -> bytes:
        first = self._parts(companion, [f"{prefix}/0"])[0]
        stem = f"{prefix}/{first['token']}" if "token" in first else prefix
        count = first["parts"]
        if not is_whole(count, 1) or (count > 1 and count > companion.count()):
            raise CorruptFieldError(
                f"Record {prefix!r} of {companion.name!r} names {count!r} parts, more than "
                "exist. Call build() again."
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

    def publish(
        self, pointer: Pointer, field: bytes, chunks: Callable[[], Iterable[bytes]]
    ) -> Pointer:
        """Write a new generation, make it the field, delete the previous one.

        Parameters
        ----------
        pointer : Pointer
            Its counters are replaced.
        field : bytes
            The field's artefacts.
        chunks : callable
            Gives packed rows, once for each attempt.

        Returns
        -------
        Pointer
            As stored.
        """
        companion = self._host.companion(create=True)
        assert companion is not None
        # raw, so that a field of an unreadable format can be replaced
        before = dict(companion.metadata or {})
        current = max(_whole(before.get("generation")), generations.highest(companion))
        generation = current + 1
        reached(Moment.NUMBERED)
        while (count := self._claimed(companion, generation, field, chunks())) is None:
            if generation > current + ATTEMPTS:
                raise RuntimeError(
                    f"Other processes replaced the energy field of {self._host.collection.name!r} "
                    f"{ATTEMPTS} times while this one wrote its own. Try again."
                )
            time.sleep(random.uniform(0, PAUSE))
            generation = 1 + max(generation, generations.highest(companion))
            reached(Moment.NUMBERED)
        pointer = replace(
            pointer,
            generation=generation,
            chunks=count,
            version=_whole(before.get("version")) + 1,
            viewed=0,
        )
        reached(Moment.COLUMNS_WRITTEN)
        self._flip(companion, pointer)
        reached(Moment.FLIPPED)
        self._sweep(companion, generations.former(companion, generation))
        reached(Moment.SWEPT)
        return pointer

    def append(self, pointer: Pointer, chunk: bytes) -> Pointer | None:
        """Add one chunk of rows to the current generation.

        Returns
        -------
        Pointer, optional
            As stored; None where another process has replaced the generation meanwhile.
        """
        companion = self._host.companion()
        if companion is None:
            raise NotBuiltError("The energy field was dropped meanwhile. Call build() again.")
        number = pointer.chunks
        while True:
            writer, name = secrets.token_hex(8), f"rows/{number}"
            self._write(companion, pointer.generation, name, chunk, writer)
            ours = generations.are_ours(companion, [f"{pointer.generation}/{name}/0"], writer)
            now = self.pointer()
            if now is None or now.generation != pointer.generation:
                return None
            if ours:
                count = max(now.chunks, number + 1)
                pointer = replace(now, chunks=count, version=now.version + 1)
                reached(Moment.COLUMNS_WRITTEN)
                self._flip(companion, pointer)
                reached(Moment.FLIPPED)
                return pointer
            number = max(now.chunks, number + 1)  # another process was faster with that one

    def mark_viewed(self, pointer: Pointer) -> Pointer:
        """Note that all rows' metadata show the current generation."""
        companion, now = self._host.companion(), self.pointer()
        if companion is None or now is None or now.generation != pointer.generation:
            return pointer
        if now.viewed != now.generation:
            now = replace(now, viewed=now.generation, version=now.version + 1)
            self._flip(companion, now)
        return now

    def drop(self) -> bool:
        """Delete the companion; False where there was none."""
        if self._host.companion() is None:
            return False
        self._host.beside.delete()
        return True

    def _claimed(
        self, companion: Collection, generation: int, field: bytes, chunks: Iterable[bytes]
    ) -> int | None:
        """Write a generation; the number of its chunks, None where another process was faster."""
        writer = secrets.token_hex(8)
        firsts: list[str] = []
        blobs = ((f"rows/{number}", chunk) for number, chunk in enumerate(chunks))
        for name, blob in chain([("field", field)], blobs):
            self._write(companion, generation, name, blob, writer)
            if not firsts:
                reached(Moment.FIELD_WRITTEN)
            firsts.append(f"{generation}/{name}/0")
        if not generations.are_ours(companion, firsts, writer):
            return None
        now = self._host.companion()
        if now is not None and _whole((now.metadata or {}).get("generation")) >= generation:
            return None
        return len(firsts) - 1

    def _write(
        self, companion: Collection, generation: int, name: str, blob: bytes, writer: str
    ) -> None:
        """Write a blob, its first record last, unless that stands there already.

        The token keeps the parts of two processes apart that write a blob of one name at the
        same time: the first record that stands names parts of its own.
        """
        text = base64.b64encode(blob).decode("ascii")
        parts = [
            text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)
        ]
        common: dict[str, Any] = {"generation": generation, "parts": len(parts)}
        common[generations.WRITER] = writer
        stem = f"{generation}/{name}"
        if len(parts) > 1:
            common["token"] = secrets.token_hex(4)
            stem = f"{stem}/{common['token']}"
        rest = list(enumerate(parts))[1:]
        for start in range(0, len(rest), PARTS_PER_CALL):
            batch = rest[start : start + PARTS_PER_CALL]
            reached(Moment.WRITING)
            companion.upsert(
                ids=[f"{stem}/{part}" for part, _ in batch],
                embeddings=np.array([[part] for part, _ in batch], dtype=np.float32),
                metadatas=[{**common, "data": data} for _, data in batch],
            )
        reached(Moment.WRITING)
        companion.add(
            ids=[f"{generation}/{name}/0"],
            embeddings=np.zeros((1, 1), dtype=np.float32),
            metadatas=[{**common, "data": parts[0]}],
        )

    def _flip(self, companion: Collection, pointer: Pointer) -> None:
        stored = {"energy_format": FORMAT_VERSION, **asdict(pointer)}
        reached(Moment.WRITING)
        companion.modify(metadata={**self._host.beside.about, **stored})

    def _moves(self, companion: Collection, pointer: Pointer) -> bool:
        """Whether there is, or will soon be, another field than one that cannot be read.

        Points to a field that stands, where the one that the pointer names was replaced.
        """
        if self.pointer() != pointer:
            return True
        standing = generations.successor(companion, pointer.generation)
        if standing is None:
            time.sleep(random.uniform(0, PAUSE))
            return generations.highest(companion) > pointer.generation
        logger.warning(
            "the energy field of %r was replaced by two processes at once; generation %d is used",
            self._host.collection.name,
            standing[0],
        )
        version = pointer.version + 1
        generation, chunks = standing
        self._flip(
            companion,
            replace(pointer, generation=generation, chunks=chunks, version=version, viewed=0),
        )
        return True

    def _sweep(self, companion: Collection, records: list[str]) -> None:
        """Delete records of other generations: crashed writes and previous fields."""
        if records:
            reached(Moment.WRITING)
            companion.delete(ids=records)
            logger.debug("deleted %d records of other generations", len(records))


def _belongs(record: str, pointer: Pointer) -> bool:
    """Whether the pointer names a record of its generation."""
    _, kind, *rest = [*record.split("/"), "", ""]
    if kind == "rows" and rest[0].isdecimal():
        return int(rest[0]) < pointer.chunks
    return kind == "field"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
