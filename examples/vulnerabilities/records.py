"""Descriptions of vulnerabilities, read from text files, CVE records or OSV advisories."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import judging


@dataclass(frozen=True)
class Record:
    """One text, with what its source says about it.

    Attributes
    ----------
    text : str
        The description; of an advisory without one, its title.
    title : str
        One line that names the vulnerability; empty if the source has none.
    classes : frozenset of str, or None
        The CWE that the source gives, as classes of `judging.CLASSES`; None in a text file.
    names : frozenset of str
        CVE numbers; empty in a text file.
    """

    text: str
    title: str = ""
    classes: frozenset[str] | None = None
    names: frozenset[str] = frozenset()

    @property
    def weaknesses(self) -> frozenset[str]:
        """Classes of weakness: those of the source, or those that the text names."""
        return judging.named(self.text) if self.classes is None else self.classes


def read(path: Path) -> list[Record]:
    """Records of a text file (one per line, also .gz) or a folder of JSON files, each text once."""
    found: dict[str, Record] = {}
    for record in _of_folder(path) if path.is_dir() else _of_lines(path):
        same = found.get(record.text, record)
        classes = None if record.classes is None else (same.classes or frozenset()) | record.classes
        title, names = same.title or record.title, same.names | record.names
        found[record.text] = Record(record.text, title, classes, names)
    found.pop("", None)
    return list(found.values())


def _of_lines(path: Path) -> Iterator[Record]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Record(line.strip())


def _of_folder(path: Path) -> Iterator[Record]:
    for file in sorted(path.rglob("*.json")):
        record = json.loads(file.read_text("utf-8"))
        yield _cve(record) if "cveMetadata" in record else _osv(record)


def _cve(record: dict[str, Any]) -> Record:
    """A CVE record of format 5: description, title and CWE of its CNA."""
    cna = record.get("containers", {}).get("cna", {})
    texts = [
        each.get("value", "")
        for each in cna.get("descriptions", [])
        if each.get("lang", "en")[:2] == "en"
    ]
    numbers = {
        each.get("cweId", "").removeprefix("CWE-")
        for kind in cna.get("problemTypes", [])
        for each in kind.get("descriptions", [])
    }
    return Record(
        " ".join(" ".join(texts).split()),
        " ".join(cna.get("title", "").split()),
        judging.known(numbers),
        frozenset({record["cveMetadata"].get("cveId", "")} - {""}),
    )


def _osv(record: dict[str, Any]) -> Record:
    """An advisory in the OSV format: its summary is the title, its aliases name the CVE."""
    names = {record.get("id", ""), *record.get("aliases", [])}
    title = " ".join(record.get("summary", "").split())
    return Record(
        " ".join(record.get("details", "").split()) or title,
        title,
        judging.known(record.get("database_specific", {}).get("cwe_ids", [])),
        frozenset(name for name in names if name.startswith("CVE-")),
    )
