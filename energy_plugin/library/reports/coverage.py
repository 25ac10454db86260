"""Which of a list of questions a collection answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.reports.topics import words_of
from energy_plugin.library.searching import answers, embedder_of
from energy_plugin.library.stores.store import Hit, Store

ANSWERED, DOUBTFUL, ABSENT = "answered", "doubtful", "not in here"
STATES = (ABSENT, DOUBTFUL, ANSWERED)
SURE = 0.75  # relevance from which a question counts as answered
_DEPTH = 5
_FIRST = 2  # results whose words count
_STEM = 5  # letters by which two forms of a word are the same
_EMPTY = frozenset(
    {"about", "after", "again", "also", "because", "been", "before", "best", "could", "does"}
    | {"from", "good", "have", "into", "many", "more", "most", "much", "only", "other", "over"}
    | {"should", "some", "such", "than", "that", "their", "them", "then", "there", "these"}
    | {"they", "this", "used", "using", "very", "want", "were", "what", "when", "where", "which"}
    | {"while", "will", "with", "would", "your"}
)  # words of questions that say nothing about their subject


@dataclass(frozen=True)
class Covered:
    """One question.

    Attributes
    ----------
    text : str
    state : {"answered", "doubtful", "not in here"}
    relevance : float
        Of the most relevant of the first five results.
    hit : Hit, optional
        That result.
    """

    text: str
    state: str
    relevance: float
    hit: Hit | None


def read_list(path: Path) -> list[str]:
    """Questions of a file, one per line; what follows a tab is ignored. Or JSON lines.

    Raises
    ------
    InvalidInputError
        It cannot be read, or has no question.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as UTF-8 ({error}). Give a text file with one question per "
            "line."
        ) from error
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        found = [_of_json(line, path, i) for i, line in enumerate(lines, 1) if line.strip()]
    else:
        found = [line.partition("\t")[0].strip() for line in lines]
    found = [text for text in found if text]
    if not found:
        raise InvalidInputError(f"{path} has no questions, expected one per line.")
    return found


def _of_json(line: str, path: Path, number: int) -> str:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"{path}, line {number} is not JSON: {error}") from error
    text = values.get("question", values.get("text")) if isinstance(values, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(
            f"{path}, line {number}: expected an object with a question, got {line[:80]}."
        )
    return text.strip()


def _names(question: str, text: str) -> bool:
    """Whether a text has most of the question's words."""
    asked = {word[:_STEM] for word in words_of(question) if len(word) > 3 and word not in _EMPTY}
    return 2 * len(asked & {word[:_STEM] for word in words_of(text)}) > len(asked)


def coverage(store: Store, questions: list[str], embedder: str | None) -> list[Covered]:
    """Ask every question; those that nothing answers first.

    Raises
    ------
    InvalidInputError
        The embedder of the rows has to be named.
    """
    from energy_plugin.energy.result import CUT_OFF
    from energy_plugin.library.embedders import load_embedder

    made_with = embedder_of(store, embedder)
    loaded = None if made_with is None else load_embedder(made_with)
    found = []
    for text in questions:
        vector = None if loaded is None else loaded.encode_query(text)
        hits = answers(store, text, _DEPTH, vector=vector)
        best = max(hits, key=lambda hit: hit.relevance or 0.0, default=None)
        relevance = (best.relevance or 0.0) if best else 0.0
        named = any(_names(text, hit.text) for hit in hits[:_FIRST])
        state = ABSENT
        if relevance >= SURE:
            state = ANSWERED
        elif relevance >= CUT_OFF or named:
            state = DOUBTFUL
        found.append(Covered(text, state, relevance, best))
    return sorted(found, key=lambda each: (STATES.index(each.state), each.relevance))
