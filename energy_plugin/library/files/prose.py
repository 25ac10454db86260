"""Files of prose: plain text, Markdown with front matter, reStructuredText, HTML, Word."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.decoding import decoded
from energy_plugin.library.files.fields import as_text, scalars
from energy_plugin.library.files.part import Part, Value

_MATTER = re.compile(
    r"\A---[ \t]*\r?\n(?=\S)(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_KEY = re.compile(r"[\w. -]{1,40}")
_RULE = re.compile(r"""([!-/:-@\[-`{-~])\1{2,}|=+(?:[ ]+=+)+|[+](?:[-=]+[+])+""")  # also of tables
_BLOCKS = (
    *("address", "article", "aside", "blockquote", "button", "caption", "center", "dd", "details"),
    *("dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1"),
    *("h2", "h3", "h4", "h5", "h6", "header", "hr", "label", "legend", "li", "main", "menu"),
    *("nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "tfoot"),
    *("search", "select", "textarea", "thead", "tr", "ul"),
)
_CELLS = ("td", "th")
_MOST_WORD_BYTES = 512 * 1024 * 1024  # unpacked


def plain(path: Path, data: bytes) -> list[Part]:
    """A text file."""
    return [Part(decoded(path, data))]


def markdown(path: Path, data: bytes) -> list[Part]:
    """Markdown; front matter in YAML becomes fields."""
    text = decoded(path, data)
    matter = _MATTER.match(text)
    if matter is None:
        return [Part(text)]
    yaml = optional("yaml", "cli")
    try:
        values = yaml.safe_load(matter[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        values = None  # a rule and text below it
    if not isinstance(values, Mapping) or not all(_KEY.fullmatch(str(key)) for key in values):
        return [Part(text)]
    fields = scalars(values)
    # What no column can hold, such as long texts and nested lists, stays text.
    kept = as_text({name: each for name, each in values.items() if not scalars({name: each})})
    rest = text[matter.end() :]
    return [Part(_titled(fields, f"{kept}\n\n{rest}" if kept else rest), fields)]


def _titled(fields: Mapping[str, Value], text: str) -> str:
    title = str(fields.get("title") or "")
    return text if not title or title in text else f"{title}\n\n{text}"


def restructured(path: Path, data: bytes) -> list[Part]:
    """reStructuredText, without the lines that only underline a heading."""
    lines = decoded(path, data).splitlines()
    kept = [line for line in lines if not _RULE.fullmatch(line.strip())]
    return [Part("\n".join(kept))]


def html(path: Path, data: bytes) -> list[Part]:
    """Title and text of a page, block by block."""
    text = decoded(path, data, declared=True)
    try:
        return [Part(_shown(optional("bs4", "cli").BeautifulSoup(text, "html.parser")))]
    except RecursionError as error:
        raise InvalidInputError(f"{path}: its elements are nested too deeply to read.") from error


def _shown(soup: Any) -> str:
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for hidden in soup(["script", "style", "template", "noscript", "title"]):
        hidden.decompose()
    for block in soup(_BLOCKS):
        block.insert_before("\n\n")
        block.insert_after("\n\n")
    for cell in soup(_CELLS):
        cell.insert_before(" ")  # an unclosed one holds those after it
        cell.insert_after(" ")
    for end in soup("br"):
        end.replace_with("\n")
    body = (soup.body or soup).get_text()
    lines = [" ".join(line.split()) for line in body.split("\n")]
    return "\n".join([title, "", *lines] if title and title not in " ".join(lines) else lines)


def word(path: Path, data: bytes) -> list[Part]:
    """A Word document (.docx): paragraphs and tables in their order."""
    docx = optional("docx", "cli")
    try:
        _check_size(data)
        document = docx.Document(io.BytesIO(data))
        blocks = [_block(block) for block in document.iter_inner_content()]
        about = {name: getattr(document.core_properties, name) for name in ("title", "author")}
    except InvalidInputError:
        raise
    except Exception as error:  # a zip file, its XML and its schema each raise their own
        raise InvalidInputError(f"{path}: cannot be read as a Word document: {error}") from error
    fields = scalars({name: value for name, value in about.items() if value})
    return [Part(_titled(fields, "\n\n".join(filter(None, blocks))), fields)]


def _check_size(data: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(each.file_size for each in packed.infolist())
    if size > _MOST_WORD_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, at most {_MOST_WORD_BYTES:,} are read")


def _block(block: Any) -> str:
    if not hasattr(block, "rows"):
        return str(block.text).strip()
    rows = [[cell for cell, _ in groupby(row.cells)] for row in block.rows]  # merged ones once
    return "\n".join(" | ".join(map(_cell, row)) for row in rows)


def _cell(cell: Any) -> str:
    return "\n".join(filter(None, map(_block, cell.iter_inner_content())))
