"""Judged collections as page images: what reading them keeps of the text's ranking."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError, OptionalDependencyError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.lines import utf8_lines
from energy_plugin.evaluation.ranking import cosine_ndcg
from energy_plugin.optical.printed.several import in_order
from energy_plugin.threads import get_threads

LISTING = "pages.jsonl"
OURS, PEERS = "bundled", ("tesseract", "rapidocr")

CHUNK = 16  # documents that one reader reads before the next one's turn

PageTexts = Callable[[list[Path]], list[str]]


@dataclass(frozen=True)
class ReaderScore:
    """What one reader makes of the pages.

    Attributes
    ----------
    ndcg : float
        nDCG@10 of the documents as pages; the questions are text.
    share : float
        Of the nDCG@10 of the same documents as text.
    words : float
        Share of the words of the texts that it reads, whatever their order.
    unread : int
        Documents without a word; they come last.
    pages_per_second : float
        From file to vector, by the clock, on all cores that the encoder may take.
    seconds_a_page : float
        Of all processors together.
    """

    ndcg: float
    share: float
    words: float
    unread: int
    pages_per_second: float
    seconds_a_page: float


@dataclass(frozen=True)
class PagesReport:
    """A collection as pages.

    Attributes
    ----------
    name : str
    documents, pages, queries : int
    text : float
        nDCG@10 of the documents as text.
    readers : dict of str to ReaderScore
    """

    name: str
    documents: int
    pages: int
    queries: int
    text: float
    readers: dict[str, ReaderScore]

    def to_dict(self) -> dict[str, Any]:
        """As JSON primitives."""
        return asdict(self)


def load_pages(folder: Path) -> dict[str, list[Path]]:
    """Files of the pages of each document: ``pages.jsonl`` beside a folder ``pages``.

    Raises
    ------
    InvalidInputError
        The listing is missing or malformed, or a file is not there.
    """
    if not (folder / LISTING).is_file():
        raise InvalidInputError(
            f"{folder / LISTING} does not exist; expected a line "
            '{"_id": …, "pages": [file, …]} for each document, and the files in '
            f"{folder / 'pages'}"
        )
    out: dict[str, list[Path]] = {}
    for number, line in enumerate(utf8_lines(folder / LISTING), 1):
        try:
            row = json.loads(line)
            files = [folder / "pages" / name for name in row["pages"]]
            out[str(row["_id"])] = files
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInputError(f"{folder / LISTING}, line {number}: {error!r}") from error
        missing = [str(file) for file in files if not file.is_file()]
        if missing or not files:
            raise InvalidInputError(f"{folder / LISTING}, line {number}: no file {missing[:3]}")
    return out


def with_pages(
    collection: JudgedCollection, pages: dict[str, list[Path]], limit: int | None = None
) -> JudgedCollection:
    """The documents that have pages, and the queries with a relevant one among them.

    Raises
    ------
    InvalidInputError
        None of the collection has pages, or no query is left.
    """
    kept = [name for name in collection.corpus if name in pages and collection.corpus[name]]
    corpus = {name: collection.corpus[name] for name in kept[:limit]}
    qrels = {
        query: {name: grade for name, grade in grades.items() if name in corpus}
        for query, grades in collection.qrels.items()
    }
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values(), default=0)}
    if not qrels:
        raise InvalidInputError(
            f"no judged query of {collection.name} has a relevant document among the "
            f"{len(corpus)} that have pages; typeset more documents"
        )
    queries = {query: collection.queries[query] for query in qrels}
    return JudgedCollection(collection.name, corpus, queries, qrels)


def evaluate_pages(
    collection: JudgedCollection,
    pages: dict[str, list[Path]],
    encoder: Any,
    *,
    peers: Sequence[str] = (),
    show_progress_bar: bool = False,
) -> PagesReport:
    """Rank the documents as text and as pages, by plain cosine.

    Parameters
    ----------
    collection : JudgedCollection
        As `with_pages` gives it.
    pages : dict of str to list of Path
    encoder : OpticalEncoder
    peers : sequence of str
        Further readers, whose text goes through the same encoder; see `PEERS`.
    show_progress_bar : bool, default=False

    Raises
    ------
    InvalidInputError
        A peer is unknown.
    OptionalDependencyError
        A peer is not installed.
    """
    from tqdm.auto import tqdm

    read: dict[str, PageTexts] = {OURS: lambda files: [page.text for page in encoder.read(files)]}
    read |= {name: _peer(name) for name in peers}
    questions = encoder.encode(list(collection.queries.values()))
    texts = list(collection.corpus.values())
    text = cosine_ndcg(collection, encoder.encode(texts), questions)
    files = [pages[name] for name in collection.corpus]
    count = sum(map(len, files))
    for reader in read.values():
        reader([files[0][0]])  # weights are in memory before the clock runs
    found: dict[str, list[str]] = {name: [] for name in read}
    vectors: dict[str, list[NDArray[np.float32]]] = {name: [] for name in read}
    seconds = {name: np.zeros(2) for name in read}
    bar = tqdm(desc="Reading pages", unit="page", total=count, disable=not show_progress_bar)
    for start in range(0, len(files), CHUNK):  # in turn, so that a busy minute slows all of them
        some = files[start : start + CHUNK]
        for name, reader in read.items():
            began = _clocks()
            said = iter(reader(list(chain(*some))))
            documents = ["\n".join(filter(None, islice(said, len(its)))) for its in some]
            vectors[name].append(_vectors(encoder, documents))
            seconds[name] += _clocks() - began
            found[name] += documents
        bar.update(sum(map(len, some)))
    bar.close()
    scores = {}
    for name, said_by in found.items():
        ndcg = cosine_ndcg(collection, np.concatenate(vectors[name]), questions)
        scores[name] = ReaderScore(
            ndcg,
            ndcg / text if text else float("nan"),
            float(np.mean([_found(a, b) for a, b in zip(said_by, texts, strict=True)])),
            sum(not said.strip() for said in said_by),
            count / float(seconds[name][0]),
            float(seconds[name][1]) / count,
        )
    return PagesReport(collection.name, len(texts), count, len(questions), text, scores)


def _clocks() -> NDArray[np.float64]:
    """Seconds by the clock, and of all processors in this process and those that it waited for."""
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def _vectors(encoder: Any, texts: list[str]) -> NDArray[np.float32]:
    """Vectors of what was read; zero where nothing was."""
    out = np.zeros((len(texts), encoder.dim), np.float32)
    read = [row for row, said in enumerate(texts) if said.strip()]
    if read:
        out[read] = encoder.encode([texts[row] for row in read])
    return out


def _found(said: str, wanted: str) -> float:
    """Share of the distinct words of a text that are read."""
    words = set(wanted.split())
    return len(words & set(said.split())) / max(1, len(words))


def _peer(name: str) -> PageTexts:
    if name == "tesseract":
        program = shutil.which("tesseract")
        if program is None:
            raise OptionalDependencyError("tesseract")
        alone = {**os.environ, "OMP_THREAD_LIMIT": "1"}

        def by_tesseract(path: Path) -> str:
            done = subprocess.run(
                [program, str(path), "-"],
                capture_output=True,
                text=True,
                check=False,
                env=alone if get_threads() > 1 else None,
            )
            return done.stdout

        # A process a core, each of one thread, is the fastest way to run it.
        return lambda files: list(in_order(by_tesseract, files))
    if name == "rapidocr":
        engine = optional("rapidocr").RapidOCR()
        return lambda files: ["\n".join(engine(str(path)).txts or ()) for path in files]
    raise InvalidInputError(f"peer is {name!r}, expected one of {list(PEERS)}")
