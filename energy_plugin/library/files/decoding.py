"""Bytes to text: UTF-8, UTF-16 with a mark, and what a page declares of itself."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from energy_plugin.errors import InvalidInputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_LOOKED_AT = 2048  # bytes in which a page declares its encoding


def decoded(path: Path, data: bytes, *, declared: bool = False) -> str:
    """Text of a file.

    Parameters
    ----------
    path : Path
        For messages.
    data : bytes
    declared : bool, default False
        Believe an encoding that the first bytes declare, as pages do.

    Raises
    ------
    InvalidInputError
        Not UTF-8, nor UTF-16 with a byte order mark, nor what is declared; or not text.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        other = _declared(data) if declared and encoding == "utf-8" else None
        try:
            if other is None:
                raise
            text = data.decode(other)
        except UnicodeDecodeError:
            raise InvalidInputError(
                f"{path}: byte {error.start} is 0x{data[error.start]:02x}, expected {encoding} "
                "text. Convert the file, for example with: iconv -f latin1 -t utf-8"
            ) from error
    if "\0" in text:
        raise InvalidInputError(f"{path}: holds zero bytes, expected text. It may be binary.")
    return text


def _declared(data: bytes) -> str | None:
    found = _DECLARED.search(data[:_LOOKED_AT])
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
        b"a".decode(name)  # not all codecs give text
        return name
    except (LookupError, ValueError):
        return None
