"""Files of records, a row each: CSV, TSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.decoding import decoded
from energy_plugin.library.files.fields import as_text, column_name, scalars, typed
from energy_plugin.library.files.part import Part

_TEXT_KEYS = ("text", "content", "body")
_DELIMITERS = ",;\t|"
_SAMPLE = 50  # rows by which the delimiter is told
_LONGEST = min(sys.maxsize, 2**31 - 1)  # characters of a cell
_MOST_COLUMNS = 64
_SEPARATOR = re.compile(r'"?sep=(.)"?[ ]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_limit = threading.Lock()


def table(path: Path, data: bytes) -> list[Part]:
    """CSV or TSV with a header: comma, semicolon, tab or bar, whichever the rows agree on."""
    text, named = _unmarked(decoded(path, data))
    with _long_cells():
        delimiter = named or ("\t" if path.suffix.lower() == ".tsv" else _delimiter(text))
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] = []
        found: list[list[str]] = []
        try:
            header = next(filter(None, rows), [])
            for row in rows:
                if any(map(str.strip, row)):
                    if len(row) != len(header):
                        raise ValueError(f"{len(row)} fields")
                    found.append(row)
        except (csv.Error, ValueError) as error:
            raise InvalidInputError(
                f"{path}, line {rows.line_num}: {error}. Expected {len(header)} fields as in the "
                f"header, separated by {delimiter!r}, and quotes that are closed."
            ) from error
    names = _names(header)
    columns = typed({name: [row[i] for row in found] for i, name in enumerate(names)})
    shown = list(columns)[:_MOST_COLUMNS]
    parts = []
    for number, row in enumerate(found):
        fields = {name: columns[name][number] for name in shown}
        cells = zip(header, row, strict=True)
        text = "\n".join(f"{name}: {value}" for name, value in cells if value)
        parts.append(Part(text, {name: each for name, each in fields.items() if each is not None}))
    return parts


def _unmarked(text: str) -> tuple[str, str | None]:
    """Without what Excel writes before and DOS after a table; and the delimiter that it names."""
    text = text.rstrip("\x1a")
    mark = _SEPARATOR.match(text)
    return (text[mark.end() :], mark[1]) if mark else (text, None)


def _names(header: list[str]) -> list[str]:
    names: list[str] = []
    for name in map(column_name, header):
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def _delimiter(text: str) -> str:
    """The one that cuts the first rows into the same number of fields, most of them."""
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        widths = set()
        try:
            for _, row in zip(range(_SAMPLE), rows, strict=False):
                if any(map(str.strip, row)):
                    widths.add(len(row))
        except csv.Error:
            continue
        if len(widths) == 1 and max(widths) > most:
            best, most = delimiter, max(widths)
    return best


@contextmanager
def _long_cells() -> Iterator[None]:
    """Read cells of any length; the limit is one for the process."""
    with _limit:
        before = csv.field_size_limit(_LONGEST)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def json_lines(path: Path, data: bytes) -> list[Part]:
    """JSON lines: an object a line."""
    found = []
    for number, line in enumerate(decoded(path, data).split("\n"), 1):
        if line.strip():
            found.append(_record(_parsed(f"{path}, line {number}", line)))
    return found


def json_file(path: Path, data: bytes) -> list[Part]:
    """JSON: an array's objects a row each, or an object that holds one array of them."""
    text = decoded(path, data)
    if not text.strip():
        return []
    value = _parsed(str(path), text)
    if isinstance(value, Mapping):
        arrays = [each for each in value.values() if _is_records(each)]
        value = arrays[0] if len(arrays) == 1 else [value]
    return [_record(each) for each in (value if isinstance(value, list) else [value])]


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, Mapping) for x in value)


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{where}: not JSON ({error}).") from error


def _record(value: object) -> Part:
    """Title and text of an object, or else all its fields, a line each."""
    if not isinstance(value, Mapping):
        return Part(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    key = next((key for key in _TEXT_KEYS if isinstance(value.get(key), str)), None)
    fields = scalars({name: each for name, each in value.items() if name != key})
    if key is None:
        return Part(as_text(value), fields)
    title = value.get("title")
    return Part(f"{title} {value[key]}" if isinstance(title, str) else value[key], fields)
