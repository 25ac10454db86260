"""Passages of a folder or a stored index, and a comparison of rankings on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.comparison import Comparison, compare
from energy_plugin.library.questions import (
    MADE,
    HeldOut,
    Question,
    hold_out,
    read_questions,
    rows_of,
)

if TYPE_CHECKING:
    from energy_plugin.library.embedders import Embedder

MOST_PASSAGES = 2000  # of a folder: more would not embed in a few minutes


@dataclass(frozen=True, eq=False)
class Passages:
    """What is searched, and what embeds questions for it.

    Attributes
    ----------
    ids, texts : list of str
    sources : list of str or None
        File of each passage.
    vectors : ndarray of shape (n, d), float32
    embedder : Embedder
    left_out : int
        Passages of a large folder that were not embedded.
    """

    ids: list[str]
    texts: list[str]
    sources: list[str | None]
    vectors: NDArray[np.float32]
    embedder: Embedder
    left_out: int = 0


def of_store(path: Path, name: str | None, embedder: str | None) -> Passages:
    """Passages of a table or collection.

    Raises
    ------
    InvalidInputError
        It cannot be opened, or its embedder has to be named.
    """
    from energy_plugin.library.embedders import is_class, load_embedder
    from energy_plugin.library.stores.opening import open_store

    store = open_store(path, name)
    made_with = store.embedder_name or "compact"
    if is_class(made_with) and embedder is None:
        raise InvalidInputError(
            f"{store.name!r} was embedded by the class {made_with}, which runs only if you name "
            f"it. Add: --embedder {made_with}"
        )
    loaded = load_embedder(embedder or made_with)
    if not store.embedded_by(loaded):
        raise InvalidInputError(
            f"{store.name!r} was not embedded by {loaded.name!r}, so its questions would be "
            "compared with vectors of another space. Name its embedder with --embedder."
        )
    content = store.content()
    return Passages(content.ids, content.texts, content.sources, content.vectors, loaded)


def of_folder(
    folder: Path, embedder: str | None, *, seed: int = 0, show_progress_bar: bool = False
) -> Passages:
    """Passages of a folder's files, embedded here and stored nowhere.

    Of a large folder, `MOST_PASSAGES` chosen by the seed. Pictures are left out.

    Raises
    ------
    InvalidInputError
        Not a folder, or no text in it.
    """
    from tqdm.auto import tqdm

    from energy_plugin.library.embedders import load_embedder
    from energy_plugin.library.files.folder import Cutting, files_below, source_of

    texts: list[str] = []
    sources: list[str | None] = []
    cutting = Cutting()
    for path in files_below(folder).files:
        try:
            parts = cutting.parts(path, path.read_bytes())
        except (InvalidInputError, OSError):
            continue  # `index` names them; here the others are enough
        source = source_of(folder, path)
        for part in parts:
            if part.text.strip() and not part.picture:
                texts.append(part.text)
                sources.append(source)
    if not texts:
        raise InvalidInputError(f"{folder} has no text to compare rankings on.")
    left_out = max(0, len(texts) - MOST_PASSAGES)
    if left_out:
        chosen = np.random.default_rng(seed).choice(len(texts), MOST_PASSAGES, replace=False)
        texts = [texts[i] for i in np.sort(chosen)]
        sources = [sources[i] for i in np.sort(chosen)]
    loaded = load_embedder(embedder or "compact")
    step = 64
    vectors = [
        loaded.encode_document(texts[at : at + step])
        for at in tqdm(
            range(0, len(texts), step),
            desc="Embedding passages",
            unit="batch",
            disable=not show_progress_bar,
        )
    ]
    ids = [str(i) for i in range(len(texts))]
    return Passages(ids, texts, sources, np.concatenate(vectors), loaded, left_out)


def run(
    passages: Passages, questions: Path | None, *, count: int = MADE, seed: int = 0
) -> Comparison:
    """Compare the rankings on questions of a file, or on sentences taken out of passages.

    A sentence that is asked for is taken out of its passage first, and the passage is embedded
    again, so that nothing is found by repeating itself.

    Parameters
    ----------
    passages : Passages
    questions : Path, optional
        See `questions.read_questions`; questions are made from the passages if not given.
    count : int
        Questions to make.
    seed : int
        Chooses the passages and sentences.

    Raises
    ------
    InvalidInputError
        The file cannot be read, a question has no answer here, or the passages are too short to
        make questions of.
    """
    if questions is not None:
        asked = read_questions(questions)
        answers = [rows_of(each, passages.ids, passages.sources) for each in asked]
        return _compared(passages, asked, answers, seed)
    held = hold_out(passages.texts, count=count, seed=seed)
    if not held:
        raise InvalidInputError(
            "No questions can be made: passages need several sentences of 6 to 40 words. Give "
            "questions and answers with --questions FILE."
        )
    asked = [Question(each.sentence, (passages.ids[each.row],)) for each in held]
    return _compared(_without(passages, held), asked, [frozenset({h.row}) for h in held], seed)


def _without(passages: Passages, held: Sequence[HeldOut]) -> Passages:
    texts, vectors = list(passages.texts), passages.vectors.copy()
    again = passages.embedder.encode_document([each.rest for each in held])
    for each, vector in zip(held, again, strict=True):
        texts[each.row], vectors[each.row] = each.rest, vector
    return replace(passages, texts=texts, vectors=vectors)


def _compared(
    passages: Passages,
    asked: Sequence[Question],
    answers: Sequence[frozenset[int]],
    seed: int,
) -> Comparison:
    vectors = np.stack([passages.embedder.encode_query(each.text) for each in asked])
    texts = [each.text for each in asked]
    return compare(passages.texts, passages.vectors, texts, vectors, answers, seed=seed)
