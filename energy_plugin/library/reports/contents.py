"""What the page says, read from a store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.library.indexing import ORIGIN
from energy_plugin.library.memory import recall
from energy_plugin.library.reports.changes import Changes, Snapshot, changes, snapshot
from energy_plugin.library.reports.coverage import Covered, coverage
from energy_plugin.library.reports.likeness import likeness
from energy_plugin.library.reports.reasons import reason
from energy_plugin.library.reports.thumbnails import Thumbnails
from energy_plugin.library.reports.topics import TYPICAL, topics, words_of
from energy_plugin.library.stores.store import Content, Hit, Store, place

MOST_COMPARED = 20_000  # rows that are compared with each other, chosen by the seed
SHOWN = 12  # of a list
QUESTIONS = 6  # sample queries


@dataclass(frozen=True)
class Shown:
    """A row as the page shows it.

    Attributes
    ----------
    text, name : str
        Its text; its file and page, or its id.
    thumbnail : bytes, optional
        JPEG, where the row is a page.
    remark : str
        Why it is shown.
    """

    text: str
    name: str = ""
    thumbnail: bytes | None = None
    remark: str = ""


@dataclass(frozen=True)
class About:
    """One topic: its words, its rows, and the most typical of them."""

    words: list[str]
    rows: int
    typical: list[Shown]


@dataclass(frozen=True)
class Copies:
    """Near-duplicates of the same documents, once.

    Attributes
    ----------
    names : list of str
        Documents that have them.
    passages : int
        Groups of near-duplicate rows that these documents share.
    rows : int
        Of all these groups.
    example : Shown
    """

    names: list[str]
    passages: int
    rows: int
    example: Shown


@dataclass(frozen=True)
class Question:
    """A row's first sentence, and the nearest rows by each ranking."""

    text: str
    cosine: list[Hit]
    energy: list[Hit]


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything on the page.

    Attributes
    ----------
    title : str
    facts : dict
        Of `Store.describe`.
    now : Snapshot
        Date, rows and documents.
    files : int
        Files that the rows come from.
    compared : int
        Rows that were compared with each other.
    topics : list of About
    duplicates : list of Copies
        Near-duplicates, most rows first.
    outliers, hubs : list of Shown
    found : dict of str to int
        How many groups, outliers and hubs there are; the lists are cut.
    covered : list of Covered, optional
        Questions that were asked, where a list was given.
    changes : Changes, optional
        Since the last report.
    anchors : ndarray of shape (m, 2)
        First two principal components of the anchors.
    anchor_lambda : ndarray of shape (m,)
        Median λ of each cell's rows; not a number for empty cells.
    lambda_, dispersion, residual : ndarray of shape (n,)
        λ, G, and the squared distance of each row to its anchor.
    sizes : ndarray of shape (m,)
        Rows of each cell.
    questions : list of Question
    thumbnails : dict of str to bytes
        JPEG of the page of a hit, by its id.
    """

    title: str
    facts: dict[str, Any]
    now: Snapshot
    files: int
    compared: int
    topics: list[About]
    duplicates: list[Copies]
    outliers: list[Shown]
    hubs: list[Shown]
    found: dict[str, int]
    covered: list[Covered] | None
    changes: Changes | None
    anchors: NDArray[np.float64]
    anchor_lambda: NDArray[np.float64]
    lambda_: NDArray[np.float32]
    dispersion: NDArray[np.float32]
    residual: NDArray[np.float32]
    sizes: NDArray[np.int64]
    questions: list[Question]
    thumbnails: dict[str, bytes]


def contents_of(
    store: Store,
    seed: int,
    *,
    asked: Sequence[str] | None = None,
    embedder: str | None = None,
) -> Contents:
    """Read all rows of a store and describe them.

    Parameters
    ----------
    store : Store
    seed : int
        Chooses the rows to compare and the sample queries.
    asked : sequence of str, optional
        Questions whose coverage is reported.
    embedder : str, optional
        Of the questions, where the rows were embedded by a class of the user's own.
    """
    from energy_plugin.energy.codec.codes import squared_residuals

    field, columns, _ = store.columns()
    rows = store.content()
    rng = np.random.default_rng(seed)
    some = np.arange(len(rows.ids))
    if len(some) > MOST_COMPARED:
        some = np.sort(rng.choice(some, MOST_COMPARED, replace=False))
    folder = recall(store.path, store.name, ORIGIN, lasting=True)
    pages = Thumbnails(Path(folder) if isinstance(folder, str) else None)
    findings = _findings(rows, some, pages, seed)
    questions = _questions(store, rows, rng)
    covered = None if asked is None else coverage(store, list(asked), embedder)
    hits = [hit for each in questions for hit in (*each.cosine, *each.energy)]
    hits += [each.hit for each in covered or [] if each.hit is not None]
    drawn = {hit.id: pages.of(place(hit.source, hit.page)) for hit in hits}
    celled = columns.cell >= 0
    cells = columns.cell[celled]
    medians = np.full(field.n_anchors, np.nan)
    for cell in np.unique(cells):
        medians[cell] = np.median(columns.lambda_[celled][cells == cell])
    now = snapshot(rows, datetime.now(timezone.utc).isoformat(timespec="minutes"))
    return Contents(
        title=f"{store.name} in {store.path.name} ({store.host})",
        facts=store.describe(),
        now=now,
        files=len({source for source in rows.sources if source is not None}),
        compared=len(some),
        **findings,
        covered=covered,
        changes=changes(store, now),
        anchors=_plane(field.anchors.astype(np.float64)),
        anchor_lambda=medians,
        lambda_=columns.lambda_,
        dispersion=columns.dispersion,
        residual=np.asarray(squared_residuals(columns.residual, field.dim))[celled],
        sizes=np.bincount(cells, minlength=field.n_anchors),
        questions=questions,
        thumbnails={name: image for name, image in drawn.items() if image is not None},
    )


def _plane(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates on the first two principal axes, zeros where there are fewer."""
    left, scale, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    plane = np.zeros((len(points), 2))
    axes = min(2, len(scale))
    plane[:, :axes] = left[:, :axes] * scale[:axes]
    return plane


def _findings(
    rows: Content, some: NDArray[np.int64], pages: Thumbnails, seed: int
) -> dict[str, Any]:
    """Topics, near-duplicates, outliers and hubs among some of the rows."""

    def name(at: int) -> str:
        page, source = rows.places[some[at]], rows.sources[some[at]]
        named = source or rows.ids[some[at]]
        return named if page is None else f"{named}, page {page[1]}"

    def shown(at: int, remark: str = "") -> Shown:
        row = int(some[at])
        return Shown(rows.texts[row], name(at), pages.of(rows.places[row]), remark)

    def different(found: list[int]) -> list[Shown]:
        """The first rows of different documents."""
        kept: dict[str, int] = {}
        for at in found:
            kept.setdefault(name(at), at)
            if len(kept) == TYPICAL:
                break
        return [shown(at) for at in kept.values()]

    def copies() -> list[Copies]:
        """By the documents that rows are in: whole copies of a file count once."""
        shared: dict[tuple[str, ...], list[list[int]]] = {}
        for group in like.groups:
            shared.setdefault(tuple(sorted({name(at) for at in group})), []).append(group.tolist())
        ordered = sorted(shared.items(), key=lambda each: -sum(map(len, each[1])))
        return [
            Copies(list(names), len(groups), sum(map(len, groups)), shown(groups[0][0]))
            for names, groups in ordered[:SHOWN]
        ]

    if len(some) < 2:
        empty = {"groups": 0, "outliers": 0, "hubs": 0}
        return {"topics": [], "duplicates": [], "outliers": [], "hubs": [], "found": empty}
    vectors = rows.vectors[some]
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-12)
    like = likeness(unit)
    words = [words_of(rows.texts[row]) for row in some.tolist()]
    known = Counter(word for each in words for word in each)
    alone, hubs = like.alone(), like.hubs()
    documents = {tuple(sorted({name(at) for at in group})) for group in like.groups}
    return {
        "topics": [
            About(topic.words, len(topic.rows), different(topic.rows))
            for topic in topics(unit, words, seed)
        ],
        "duplicates": copies(),
        "outliers": [
            shown(at, reason(rows.texts[some[at]], float(like.nearest[at]), like.typical, known))
            for at in alone[:SHOWN]
        ],
        "hubs": [
            shown(at, f"among the ten nearest of {like.listed[at]:,} rows")
            for at in hubs[: SHOWN // 2]
        ],
        "found": {"groups": len(documents), "outliers": len(alone), "hubs": len(hubs)},
    }


def _questions(store: Store, rows: Content, rng: np.random.Generator) -> list[Question]:
    found = []
    for row in rng.permutation(len(rows.ids)).tolist():
        text = first_sentence(rows.texts[row])
        if not text:
            continue
        vector = store.embed_query(text)
        if vector is None:  # another model embedded the rows, which may be far away
            vector = rows.vectors[row]
        hits = {
            ranking: store.search("", 5, vector=vector, where=None, ranking=ranking)
            for ranking in ("cosine", "energy")
        }
        found.append(Question(text, **hits))
        if len(found) == QUESTIONS:
            break
    return found


def first_sentence(text: str) -> str:
    """The first sentence, at most 200 characters."""
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0][:200]
