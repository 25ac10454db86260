"""A judged retrieval collection: documents, queries, human judgements (BEIR layout)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.lines import tab_separated, utf8_lines

_QRELS = ("qrels.tsv", "qrels/test.tsv")


@dataclass(frozen=True)
class JudgedCollection:
    """Documents, judged queries and their judgements.

    Attributes
    ----------
    name : str
        Name of the folder.
    corpus : mapping of str to str
        Document id to text, title and body joined by a space. May hold empty texts.
    queries : mapping of str to str
        Query id to text, only queries with at least one relevant document.
    qrels : mapping of str to mapping of str to int
        Query id to {document id: grade}, grade > 0 is relevant.
    """

    name: str
    corpus: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def n_empty(self) -> int:
        """Number of documents without a text."""
        return sum(not text.strip() for text in self.corpus.values())


def load_collection(folder: str | Path) -> JudgedCollection:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels.tsv`` of a folder.

    ``qrels/test.tsv`` is used if ``qrels.tsv`` does not exist.

    Raises
    ------
    InvalidInputError
        A file is missing or malformed, or no query of the collection is judged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder. Give a folder in BEIR layout.")
    corpus = {
        _text(row, "_id", where): f"{_optional(row, 'title')} {_optional(row, 'text')}".strip()
        for where, row in _json_lines(folder / "corpus.jsonl")
    }
    texts = {
        _text(row, "_id", where): _text(row, "text", where).strip()
        for where, row in _json_lines(folder / "queries.jsonl")
    }
    qrels = _read_qrels(folder)
    judged = {query: grades for query, grades in qrels.items() if max(grades.values()) > 0}
    queries = {query: texts[query] for query in judged if query in texts}
    if not queries:
        raise InvalidInputError(
            f"{folder} has no judged query: {len(texts)} queries, {len(judged)} with a relevant "
            "document, none in common. Check the ids in queries.jsonl and in the judgements."
        )
    return JudgedCollection(
        name=folder.resolve().name,
        corpus=corpus,
        queries=queries,
        qrels={query: judged[query] for query in queries},
    )


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    if not path.is_file():
        raise InvalidInputError(f"{path} does not exist. A judged collection needs it.")
    for number, line in enumerate(utf8_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{where}: not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise InvalidInputError(f"{where}: got {type(row).__name__}, expected an object.")
        yield where, row


def _text(row: Mapping[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str | int):
        raise InvalidInputError(f"{where}: {key!r} is {value!r}, expected a string.")
    return str(value)


def _optional(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _read_qrels(folder: Path) -> dict[str, dict[str, int]]:
    path = next((folder / name for name in _QRELS if (folder / name).is_file()), None)
    if path is None:
        raise InvalidInputError(
            f"{folder} has no judgements: neither {' nor '.join(_QRELS)} exists. Without human "
            "judgements there is nothing to measure against."
        )
    qrels: dict[str, dict[str, int]] = {}
    for number, row in enumerate(tab_separated(path), 1):
        if not row or (number == 1 and row[0] == "query-id"):
            continue
        try:
            query, document, grade = row[0], row[1], int(float(row[2]))
        except (IndexError, ValueError, OverflowError) as error:
            raise InvalidInputError(
                f"{path}, line {number}: got {row!r}, expected query-id, corpus-id and score "
                "separated by tabs."
            ) from error
        qrels.setdefault(query, {})[document] = grade
    if not qrels:
        raise InvalidInputError(f"{path} has no judgement. There is nothing to measure against.")
    return qrels
