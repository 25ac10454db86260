"""The pointer: what a table's schema says about its energy field.

In the `columns` layout it is metadata of the column ``energy_residual`` and so appears and
disappears in the very commit that swaps the columns. In the `companion` layout it is metadata
of the table, which leaves the schema as it was, or of the vector column where pylance cannot
open the storage.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from energy_lancedb.columns import RowFormat, is_vector
from energy_plugin.energy.codec import packing
from energy_plugin.energy.config import BIT_CHOICES
from energy_plugin.errors import CorruptFieldError

FORMAT_VERSION = 1
KEY = "energy:pointer"
RESIDUAL = "energy_residual"
_SHA256 = re.compile("[0-9a-f]{64}")
LEFTOVER_SECONDS = 24 * 3600  # no build takes longer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pointer:
    """One generation of an energy field, as JSON primitives."""

    generation: int
    layout: str  # "columns" or "companion"
    vector_column: str
    dim: int
    code_bytes: int  # of a residual, without the 4 bytes of the vector's fingerprint
    artefacts: str  # table that holds the field
    chunks: int  # rows of that table
    sha256: str  # of the field's bytes
    embedder: str | None  # see `embedder_of`
    n_fitted: int
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()  # data files whose vectors agree with the columns
    mixed: bool = False  # rows have lost bit planes: codes of several lengths

    @property
    def format(self) -> RowFormat:
        """How the residuals of this generation are stored."""
        return RowFormat(self.dim, self.code_bytes, self.mixed, int(self.sha256[:8], 16))

    def same_field(self, other: Pointer) -> bool:
        """Whether both stand for the same columns; the list of files apart."""
        return (self.generation, self.sha256) == (other.generation, other.sha256)

    def to_json(self) -> str:
        """JSON with the format version."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Pointer:
        """Read what `to_json` wrote.

        Raises
        ------
        CorruptFieldError
            Not JSON, another format version, or keys missing.
        """
        try:
            values = json.loads(text)
            version = values.pop("format_version")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptFieldError(
                f"The energy pointer of the table is unreadable ({error!r}). "
                "Write a new field with EnergyTable(table).build()."
            ) from error
        if version != FORMAT_VERSION:
            what = "The energy field of the table"
            raise CorruptFieldError(packing.newer(what, version, FORMAT_VERSION))
        try:
            values["files"] = tuple(values["files"])
            pointer = cls(**{item.name: values[item.name] for item in fields(cls)})
            _check(pointer)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFieldError(
                f"The energy pointer of the table is incomplete or altered ({error!r}). "
                "Write a new field with EnergyTable(table).build()."
            ) from error
        return pointer


def _check(pointer: Pointer) -> None:
    """Types and ranges of what was read: some of it goes into conditions and sizes.

    Raises
    ------
    ValueError
        One is not as it is written.
    """
    from energy_plugin.energy.codec.codes import code_bytes

    def whole(value: Any, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    checks = {
        "generation": whole(pointer.generation, 1) and pointer.generation < 1 << 62,
        "layout": pointer.layout in ("columns", "companion"),
        "vector_column": isinstance(pointer.vector_column, str),
        "dim": whole(pointer.dim, 1),
        "code_bytes": whole(pointer.code_bytes, 1)
        and pointer.code_bytes in [code_bytes(pointer.dim, bits) for bits in BIT_CHOICES],
        "artefacts": isinstance(pointer.artefacts, str),
        "chunks": whole(pointer.chunks, 1),
        "sha256": isinstance(pointer.sha256, str) and bool(_SHA256.fullmatch(pointer.sha256)),
        "embedder": pointer.embedder is None or isinstance(pointer.embedder, str),
        "n_fitted": whole(pointer.n_fitted, 0),
        "config": isinstance(pointer.config, dict),
        "files": all(isinstance(name, str) for name in pointer.files),
        "mixed": isinstance(pointer.mixed, bool),
    }
    wrong = [name for name, right in checks.items() if not right]
    if wrong:
        raise ValueError(f"{wrong[0]} is {getattr(pointer, wrong[0])!r}")


def _entry(metadata: Mapping[bytes, bytes] | None) -> bytes | None:
    # an emptied entry counts as none
    return (metadata or {}).get(KEY.encode()) or None


def pointer_of(schema: Any) -> Pointer | None:
    """The pointer in an Arrow schema, or None where no field was built.

    A build that changes the layout writes the new pointer before it removes the old one, so the
    one of the highest generation counts.

    Parameters
    ----------
    schema : pyarrow.Schema
        With the table's own metadata among those of the schema, as `Host.schema` gives it.

    Raises
    ------
    CorruptFieldError
        See `Pointer.from_json`.
    """
    found = []
    if RESIDUAL in schema.names:
        found.append(_entry(schema.field(RESIDUAL).metadata))
    found.append(_entry(schema.metadata))
    for column in schema:
        if not column.name.startswith(RESIDUAL):  # one about to be swapped
            found.append(_entry(column.metadata))
    pointers = [_read(text) for text in found if text is not None]
    if not pointers:
        return None
    return _renamed(max(pointers, key=lambda pointer: pointer.generation), schema)


def _renamed(pointer: Pointer, schema: Any) -> Pointer:
    """The pointer with the present name of its vector column, where that can be told."""
    if pointer.vector_column in schema.names:
        return pointer
    alike = [column.name for column in schema if _holds(column.type, pointer.dim)]
    return replace(pointer, vector_column=alike[0]) if len(alike) == 1 else pointer


def _holds(kind: Any, dim: int) -> bool:
    return is_vector(kind) and kind.list_size == dim


@lru_cache(maxsize=16)
def _read(text: bytes) -> Pointer:
    return Pointer.from_json(text)


def replaced_pointer(schema: Any) -> Pointer | None:
    """As `pointer_of`, for a build: an unreadable pointer is as good as none."""
    try:
        return pointer_of(schema)
    except CorruptFieldError as error:
        log.warning("%s It is replaced.", error)
        return None


def rows_of(pointer: Pointer) -> str:
    """SQL condition on the rows of a companion table that belong to a field."""
    return f"(generation = {pointer.generation} AND sha256 = '{pointer.sha256}')"


def outdated_rows(current: Pointer | None, replaced: Pointer | None) -> str:
    """SQL condition on rows that a table no longer needs once `current` is published.

    They are those of the field that it replaced, and whatever broken-off builds left. The rest
    may belong to a build under way in another process.
    """
    cutoff = int(time.time() - LEFTOVER_SECONDS)
    condition = f"(written < {cutoff})"
    if replaced is not None:
        condition = f"({condition} OR {rows_of(replaced)})"
    return condition if current is None else f"{condition} AND NOT {rows_of(current)}"


def embedder_of(schema: Any, vector_column: str) -> str | None:
    """Fingerprint of the embedding function of a vector column; None without one.

    Read from the stored JSON, so that no embedding function need be registered. A function
    that stores a fingerprint of its own is known by its name and that; any other by its name
    and all its arguments.
    """
    stored = (schema.metadata or {}).get(b"embedding_functions")
    if not stored:
        return None
    try:
        for entry in json.loads(stored):
            if entry["vector_column"] == vector_column:
                model = entry.get("model") or {}
                known_by = model.get("fingerprint")
                known_by = known_by or json.dumps(model, sort_keys=True, default=str)
                text = f"{entry['name']}\n{known_by}"
                return hashlib.sha256(text.encode()).hexdigest()[:32]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFieldError(
            f"LanceDB's own entry embedding_functions in the table's schema is unreadable "
            f"({error!r}). Restore a version of the table in which it is intact: "
            "table.checkout(version), table.restore()."
        ) from error
    return None
