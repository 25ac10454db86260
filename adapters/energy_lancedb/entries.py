"""The entries of a table's fields: one pointer for each vector column that has a field.

The first field of a table has the entry `KEY`. Those of other vector columns have entries of
their own, ``energy:pointer:COLUMN``, and always the `companion` layout: a table has one set of
energy columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_lancedb.columns import NAMES
from energy_lancedb.pointer import KEY, Pointer, pointer_of
from energy_plugin.errors import CorruptFieldError, InvalidInputError


def entry_of(schema: Any, column: str | None, table: str) -> str:
    """Key of the entry that the field of a vector column has, or would get.

    Parameters
    ----------
    schema : pyarrow.Schema
        With the table's own metadata among those of the schema.
    column : str, optional
        The vector column; by default that of the only field.
    table : str
        Name of the table, for the error.

    Raises
    ------
    InvalidInputError
        There are several fields to choose from.
    """
    found = pointers_of(schema)
    if column is None:
        columns = sorted(pointer.vector_column for pointer in found.values() if pointer)
        if len(found) > 1 and columns:
            raise InvalidInputError(
                f"Table {table!r} has energy fields of the vector columns {columns}. "
                f"Name one: EnergyTable(table, {columns[0]!r})."
            )
        return next(iter(found), KEY)
    for key, pointer in found.items():
        if pointer is not None and pointer.vector_column == column:
            return key
    return KEY if found.get(KEY) is None else f"{KEY}:{column}"


def pointers_of(schema: Any) -> dict[str, Pointer | None]:
    """The pointers of a table by the keys of their entries; None for one that is unreadable."""
    metadata = [schema.metadata, *(column.metadata for column in schema)]
    entries = {key for some in metadata for key, text in (some or {}).items() if text}
    found: dict[str, Pointer | None] = {}
    for key in sorted(key.decode() for key in entries if _is_entry(key)):
        try:
            pointer = pointer_of(with_entry(schema, key))
        except CorruptFieldError:
            found[key] = None
            continue
        if pointer is not None:  # else columns about to be swapped have it
            found[key] = pointer
    return found


def with_entry(schema: Any, key: str) -> Any:
    """The schema with one of the entries, under `KEY`, and without the others."""
    for place, column in enumerate(schema):
        if any(map(_is_entry, column.metadata or {})):
            mine = key if key == KEY or column.name not in NAMES else ""
            schema = schema.set(place, column.with_metadata(_only(column.metadata, mine)))
    return schema.with_metadata(_only(schema.metadata, key)) if schema.metadata else schema


def _is_entry(key: bytes) -> bool:
    return key == KEY.encode() or key.startswith(f"{KEY}:".encode())


def _only(metadata: Mapping[bytes, bytes], key: str) -> dict[bytes, bytes]:
    kept = {name: text for name, text in metadata.items() if not _is_entry(name)}
    mine = metadata.get(key.encode())
    return kept if mine is None else {**kept, KEY.encode(): mine}
