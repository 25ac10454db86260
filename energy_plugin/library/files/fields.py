"""Fields of a row, as columns can hold them: named for filters, of one kind."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from energy_plugin.library.files.part import Value

# Columns of every row, and what databases or the field take for themselves.
RESERVED = frozenset(
    {"id", "text", "source", "part", "parts", "page", "sha256", "modified", "vector", "document"}
)
_MOST = 4096  # characters of a field; longer ones are text and stand in the text
_MOST_FIELDS = 64  # columns that one file may bring
_BEYOND_FLOAT = 10**308
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d+)?")


def column_name(name: str) -> str:
    """Name of a column: letters, digits and underscores, so that filters need no quotes."""
    plain = re.sub(r"\W+", "_", name.strip().lower()).strip("_") or "field"
    if plain[0].isdigit() or plain in RESERVED or plain.startswith("energy_"):
        plain = f"field_{plain}"
    return plain


def scalars(values: Mapping[Any, Any]) -> dict[str, Value]:
    """Fields from a parsed object: nested ones by dots, lists of scalars joined by commas."""
    found: dict[str, Value] = {}
    for name, value in _flat(values, ""):
        kept = _scalar(value)
        if kept is not None and len(found) < _MOST_FIELDS:
            found.setdefault(column_name(name), kept)
    return found


def _flat(values: Mapping[Any, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            if not before:  # one level is enough for filters
                yield from _flat(value, f"{name} ")
        else:
            yield f"{before}{name}", value


def _scalar(value: Any) -> Value | None:
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        if not all(isinstance(each, str | int | float) for each in value):
            return None
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value)
    if isinstance(value, str):
        text = value.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()
        return text if 0 < len(text) <= _MOST else None
    return value if isinstance(value, bool) else None


def _whole(value: int) -> Value | None:
    if -(2**63) <= value < 2**63:
        return value
    return float(value) if abs(value) < _BEYOND_FLOAT else None


def typed(columns: Mapping[str, list[str]]) -> dict[str, list[Value | None]]:
    """Columns of a table of strings: numbers where every filled cell is one."""
    return {name: _typed(values) for name, values in columns.items()}


def _typed(values: list[str]) -> list[Value | None]:
    filled = [value.strip() for value in values if value.strip()]
    if filled and all(map(_INTEGER.fullmatch, filled)):
        return [int(value) if value.strip() else None for value in values]
    if filled and all(value and _NUMBER.fullmatch(value) for value in filled):
        numbers = [float(value) if value.strip() else None for value in values]
        if all(number is None or math.isfinite(number) for number in numbers):
            return list(numbers)
    return [_scalar(value) for value in values]


def as_text(values: Mapping[Any, Any]) -> str:
    """A line a field, as a passage shows it."""
    lines = []
    for name, value in values.items():
        if value is None or value == "":
            continue
        lines.append(f"{name}: {value if isinstance(value, str) else _as_json(value)}")
    return "\n".join(lines)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # YAML's keys may be dates, and its lists hold themselves
        return str(value)
