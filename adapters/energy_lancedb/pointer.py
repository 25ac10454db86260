"""The pointer: what a table's schema says about its energy field.

In the `columns` layout it is metadata of the column ``energy_residual`` and so appears and
disappears in the very commit that swaps the columns. In the `companion` layout it is metadata
of the vector column.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from energy_lancedb.columns import RowFormat
from energy_plugin.errors import CorruptFieldError

FORMAT_VERSION = 1
KEY = "energy:pointer"
RESIDUAL = "energy_residual"
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
        return RowFormat(self.dim, self.code_bytes, self.mixed)

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
        except (ValueError, KeyError, AttributeError) as error:
            raise CorruptFieldError(
                f"The energy pointer of the table is unreadable ({error!r}). "
                "Write a new field with EnergyTable(table).build()."
            ) from error
        if version != FORMAT_VERSION:
            raise CorruptFieldError(
                f"The energy field has format version {version!r}, expected {FORMAT_VERSION}. "
                "Upgrade energy-plugin, or write a new field with EnergyTable(table).build()."
            )
        try:
            values["files"] = tuple(values["files"])
            values.setdefault("mixed", False)  # written before rows could lose planes
            return cls(**{item.name: values[item.name] for item in fields(cls)})
        except (KeyError, TypeError) as error:
            raise CorruptFieldError(
                f"The energy pointer of the table lacks {error}. "
                "Write a new field with EnergyTable(table).build()."
            ) from error


def _entry(metadata: Mapping[bytes, bytes] | None) -> bytes | None:
    # an emptied entry counts as none
    return (metadata or {}).get(KEY.encode()) or None


def pointer_of(schema: Any) -> Pointer | None:
    """The pointer in an Arrow schema, or None where no field was built.

    Raises
    ------
    CorruptFieldError
        See `Pointer.from_json`.
    """
    if RESIDUAL in schema.names:
        found = _entry(schema.field(RESIDUAL).metadata)
        if found is not None:
            return Pointer.from_json(found)
    for column in schema:
        found = _entry(column.metadata)
        if found is not None and not column.name.startswith(RESIDUAL):  # one about to be swapped
            return Pointer.from_json(found)
    return None


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


def outdated_rows(current: Pointer, replaced: Pointer | None) -> str:
    """SQL condition on rows that nobody needs once `current` is published.

    They are those of the field that it replaced, and whatever broken-off builds left. The rest
    may belong to a build under way in another process.
    """
    cutoff = int(time.time() - LEFTOVER_SECONDS)
    condition = f"(written < {cutoff})"
    if replaced is not None:
        condition = f"({condition} OR {rows_of(replaced)})"
    return f"{condition} AND NOT {rows_of(current)}"


def embedder_of(schema: Any, vector_column: str) -> str | None:
    """Fingerprint of the embedding function of a vector column; None without one.

    Read from the stored JSON, so that no embedding function need be registered. A function
    that stores a fingerprint of its own is known by its name and that; any other by its name
    and all its arguments.
    """
    stored = (schema.metadata or {}).get(b"embedding_functions")
    if not stored:
        return None
    for entry in json.loads(stored):
        if entry["vector_column"] == vector_column:
            model = entry.get("model") or {}
            known_by = model.get("fingerprint") or json.dumps(model, sort_keys=True, default=str)
            text = f"{entry['name']}\n{known_by}"
            return hashlib.sha256(text.encode()).hexdigest()[:32]
    return None
