"""Questions with known answers: given in a file, or made from the documents themselves."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from energy_plugin.errors import InvalidInputError

MADE = 60  # questions made from documents unless told otherwise
WORDS = (6, 40)  # of a sentence that is held out
REST_WORDS = 30  # that a passage keeps at least
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])|\n{2,}")


@dataclass(frozen=True)
class Question:
    """One question and what answers it.

    Parameters
    ----------
    text : str
    answers : tuple of str
        Ids of rows, or names of files.
    """

    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class HeldOut:
    """A sentence taken out of a passage, to be asked for.

    Parameters
    ----------
    row : int
        Number of the passage.
    sentence : str
        The question.
    rest : str
        The passage without it.
    """

    row: int
    sentence: str
    rest: str


def read_questions(path: Path) -> list[Question]:
    r"""Questions of a file: JSON lines, or a table with tabs or commas.

    A JSON line has ``question`` and ``answer``, a text or a list of them; a row of a table has
    the question first and its answers in the further columns. An answer is the id of a row, or
    the name of a file as results show it.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or a line has no question or no answer.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as UTF-8 ({error}). Give a file of questions and answers."
        ) from error
    lines = text.splitlines()
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        found = [_of_json(line, path, i) for i, line in enumerate(lines, 1) if line.strip()]
    else:
        tabs = "\t" in text
        rows = csv.reader(lines, delimiter="\t" if tabs else ",")
        found = [_of_cells(row, path, rows.line_num) for row in rows if any(map(str.strip, row))]
        if found and found[0].text.lower() in ("question", "query", "text"):
            found = found[1:]
    if not found:
        raise InvalidInputError(
            f"{path} has no questions. Expected lines such as: what is a flux?<TAB>physics.md"
        )
    return found


def _of_cells(cells: Sequence[str], path: Path, line: int) -> Question:
    text, *answers = (cell.strip() for cell in cells)
    return _question(text, [answer for answer in answers if answer], path, line)


def _of_json(line: str, path: Path, number: int) -> Question:
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"{path}, line {number} is not JSON: {error}") from error
    values = values if isinstance(values, dict) else {}
    text = values.get("question", values.get("text"))
    answers = values.get("answer", values.get("answers", []))
    answers = [answers] if isinstance(answers, str | int) else list(answers or [])
    return _question(str(text or "").strip(), [str(each) for each in answers], path, number)


def _question(text: str, answers: list[str], path: Path, line: int) -> Question:
    if not text or not answers:
        raise InvalidInputError(
            f"{path}, line {line}: expected a question and at least one answer (the id of a row, "
            f"or a file's name), got {text!r} and {answers!r}."
        )
    return Question(text, tuple(answers))


def hold_out(texts: Sequence[str], *, count: int = MADE, seed: int = 0) -> list[HeldOut]:
    """Take one sentence out of some passages, so that the rest still says what it is about.

    Sentences that stand in more than one passage are left alone: they have no one answer.

    Parameters
    ----------
    texts : sequence of str
    count : int
        At most this many passages, chosen by the seed.
    """
    rng = np.random.default_rng(seed)
    seen: dict[str, int] = {}
    for text in texts:
        for sentence in set(_sentences(text)):
            seen[sentence] = seen.get(sentence, 0) + 1
    found: list[HeldOut] = []
    for row in rng.permutation(len(texts)).tolist():
        if len(found) == count:
            break
        sentences = _sentences(texts[row])
        fit = [
            i
            for i, sentence in enumerate(sentences)
            if WORDS[0] <= len(sentence.split()) <= WORDS[1] and seen[sentence] == 1
        ]
        if not fit:
            continue
        chosen = fit[int(rng.integers(len(fit)))]
        rest = " ".join(sentences[:chosen] + sentences[chosen + 1 :])
        if len(rest.split()) >= REST_WORDS:
            found.append(HeldOut(row, sentences[chosen], rest))
    return found


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def rows_of(
    question: Question, ids: Sequence[str], sources: Sequence[str | None]
) -> frozenset[int]:
    """Rows that answer a question: by id, by file, or by the end of a file's path."""
    wanted = set(question.answers)

    def answers(row: int) -> bool:
        source = sources[row]
        names: Iterable[str] = () if source is None else (source, Path(source).name)
        return ids[row] in wanted or not wanted.isdisjoint(names)

    return frozenset(row for row in range(len(ids)) if answers(row))
