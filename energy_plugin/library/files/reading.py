"""What a file says: txt, md, html, pdf (its text), csv, jsonl and images."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_TEXT_KEYS = ("text", "content", "body")


def texts_of(path: Path, data: bytes) -> list[str]:
    """The texts of a file: one for prose, one a row for csv and jsonl, none for an empty file.

    Parameters
    ----------
    path : Path
        Its suffix decides how `data` is read.
    data : bytes
        The file's content.

    Raises
    ------
    InvalidInputError
        The content is not what the suffix promises, or not in UTF-8 or UTF-16.
    """
    texts = _READERS[path.suffix.lower()](path, data)
    return [text for text in map(_storable, texts) if text]


def _storable(text: str) -> str:
    """Without what databases refuse: zero characters and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()


def _decoded(path: Path, data: bytes) -> str:
    encoding = next((name for bom, name in _BOMS.items() if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}: byte {error.start} is 0x{data[error.start]:02x}, expected {encoding} text. "
            "Convert the file, for example with: iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in text:
        raise InvalidInputError(f"{path}: holds zero bytes, expected text. It may be binary.")
    return text


def _prose(path: Path, data: bytes) -> list[str]:
    return [_decoded(path, data)]


def _html(path: Path, data: bytes) -> list[str]:
    text = _decoded(path, data)
    try:
        return [_shown(optional("bs4", "cli").BeautifulSoup(text, "html.parser"))]
    except RecursionError as error:
        raise InvalidInputError(f"{path}: its elements are nested too deeply to read.") from error


def _shown(soup: Any) -> str:
    """Title and text of a page, a line a block."""
    for hidden in soup(["script", "style", "template", "noscript"]):
        hidden.decompose()
    for block in soup(["p", "div", "li", "br", "tr", "h1", "h2", "h3", "h4", "section"]):
        block.append("\n\n")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    body = (soup.body or soup).get_text()
    lines = (" ".join(line.split()) for line in body.split("\n"))
    return "\n".join([title, "", *lines] if title not in body else lines)


def _pdf(path: Path, data: bytes) -> list[str]:
    pypdf = optional("pypdf", "cli")
    try:
        pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(data)).pages]
    except Exception as error:  # pypdf raises many kinds on broken files
        raise InvalidInputError(f"{path}: cannot be read as PDF: {error}") from error
    text = "\n\n".join(pages)
    if data and not text.strip():
        raise InvalidInputError(f"{path}: holds no text. Index its pages as images instead.")
    return [text]


def _csv(path: Path, data: bytes) -> list[str]:
    rows = csv.reader(io.StringIO(_decoded(path, data), newline=""))
    try:
        header = next(rows, [])
        found = [
            "\n".join(f"{name}: {value}" for name, value in zip(header, row, strict=True) if value)
            for row in rows
            if row
        ]
    except (csv.Error, ValueError) as error:
        raise InvalidInputError(
            f"{path}, line {rows.line_num}: {error}. Expected {len(header)} fields as in the "
            "header, separated by commas."
        ) from error
    return found


def _jsonl(path: Path, data: bytes) -> list[str]:
    found = []
    for number, line in enumerate(_decoded(path, data).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{path}, line {number}: not JSON ({error}).") from error
        found.append(_row_text(row))
    return found


def _row_text(row: object) -> str:
    """Title and text of an object, or else all its strings."""
    if not isinstance(row, dict):
        return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
    key = next((key for key in _TEXT_KEYS if isinstance(row.get(key), str)), None)
    if key is not None:
        return f"{row.get('title') or ''} {row[key]}"
    return "\n".join(f"{name}: {value}" for name, value in row.items() if isinstance(value, str))


def _image(path: Path, data: bytes) -> list[str]:
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).convert("RGB")
    except Exception as error:  # Pillow raises many kinds on broken files
        raise InvalidInputError(f"{path}: cannot be read as an image.") from error
    return [path.stem.replace("_", " ").replace("-", " ").strip() or path.name]


_READERS: dict[str, Callable[[Path, bytes], list[str]]] = {
    ".txt": _prose,
    ".md": _prose,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".csv": _csv,
    ".jsonl": _jsonl,
    **dict.fromkeys(IMAGES, _image),
}
SUFFIXES = frozenset(_READERS)
