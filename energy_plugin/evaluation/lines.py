"""Lines of text files that other people wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from energy_plugin.errors import InvalidInputError


def utf8_lines(path: Path) -> Iterator[str]:
    """Give the lines of a file, their ends included; a byte order mark is left out.

    Raises
    ------
    InvalidInputError
        A line is not UTF-8.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidInputError(
                    f"{path}, line {number}: byte {error.start} is 0x{line[error.start]:02x}, "
                    "expected UTF-8 text. Convert the file, for example with: "
                    "iconv -f latin1 -t utf-8"
                ) from error


def tab_separated(path: Path) -> Iterator[list[str]]:
    """Give the fields of each line; quotes are characters like any other.

    Raises
    ------
    InvalidInputError
        A line is not UTF-8, or cannot be split.
    """
    rows = csv.reader(utf8_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        yield from rows
    except csv.Error as error:
        raise InvalidInputError(
            f"{path}, line {rows.line_num}: {error}. Expected tab-separated text."
        ) from error
