"""What the page says, read from a store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.library.indexing import ORIGIN
from energy_plugin.library.memory import recall
from energy_plugin.library.reports.thumbnails import Thumbnails
from energy_plugin.library.stores.store import Content, Hit, Store, place

MOST_COMPARED = 20_000  # rows whose neighbours are looked for, chosen by the seed
SHOWN = 12
DUPLICATE = 0.98  # cosine from which two rows are called near-duplicates
_BLOCK = 1024


@dataclass(frozen=True)
class Shown:
    """A row as the page shows it."""

    text: str
    thumbnail: bytes | None = None  # JPEG, where the row is a page


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
    anchors : ndarray of shape (m, 2)
        First two principal components of the anchors.
    anchor_lambda : ndarray of shape (m,)
        Median λ of each cell's rows; not a number for empty cells.
    lambda_, dispersion, residual : ndarray of shape (n,)
        λ, G, and the squared distance of each row to its anchor.
    sizes : ndarray of shape (m,)
        Rows of each cell.
    outliers : list of (cosine to the nearest row, Shown)
    duplicates : list of (cosine, Shown, Shown)
    thumbnails : dict of str to bytes
        JPEG of the page of a hit, by its id.
    """

    title: str
    facts: dict[str, Any]
    anchors: NDArray[np.float64]
    anchor_lambda: NDArray[np.float64]
    lambda_: NDArray[np.float32]
    dispersion: NDArray[np.float32]
    residual: NDArray[np.float32]
    sizes: NDArray[np.int64]
    compared: int
    outliers: list[tuple[float, Shown]]
    duplicates: list[tuple[float, Shown, Shown]]
    questions: list[Question]
    thumbnails: dict[str, bytes]


def contents_of(store: Store, seed: int) -> Contents:
    """Read all rows of a store and describe them."""
    from energy_plugin.energy.codec.codes import squared_residuals

    field, columns, _ = store.columns()
    rows = store.content()
    rng = np.random.default_rng(seed)
    some = np.arange(len(rows.ids))
    if len(some) > MOST_COMPARED:
        some = np.sort(rng.choice(some, MOST_COMPARED, replace=False))
    folder = recall(store.path, store.name, ORIGIN, lasting=True)
    pages = Thumbnails(Path(folder) if isinstance(folder, str) else None)
    outliers, duplicates = _neighbours(rows, some, pages)
    questions = _questions(store, rows, rng)
    hits = [hit for each in questions for hit in (*each.cosine, *each.energy)]
    drawn = {hit.id: pages.of(place(hit.source, hit.page)) for hit in hits}
    celled = columns.cell >= 0
    cells = columns.cell[celled]
    medians = np.full(field.n_anchors, np.nan)
    for cell in np.unique(cells):
        medians[cell] = np.median(columns.lambda_[celled][cells == cell])
    return Contents(
        title=f"{store.name} in {store.path.name} ({store.host})",
        facts=store.describe(),
        anchors=_plane(field.anchors.astype(np.float64)),
        anchor_lambda=medians,
        lambda_=columns.lambda_,
        dispersion=columns.dispersion,
        residual=np.asarray(squared_residuals(columns.residual, field.dim))[celled],
        sizes=np.bincount(cells, minlength=field.n_anchors),
        compared=len(some),
        outliers=outliers,
        duplicates=duplicates,
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


def _neighbours(
    rows: Content, some: NDArray[np.int64], pages: Thumbnails
) -> tuple[list[tuple[float, Shown]], list[tuple[float, Shown, Shown]]]:
    """Rows far from every other one, and pairs that are nearly the same, by cosine."""
    if len(some) < 2:
        return [], []
    unit = rows.vectors[some] / (np.linalg.norm(rows.vectors[some], axis=1, keepdims=True) + 1e-12)
    nearest = np.empty(len(some), dtype=np.float32)
    which = np.empty(len(some), dtype=np.int64)
    for start in range(0, len(some), _BLOCK):
        near = unit[start : start + _BLOCK] @ unit.T
        near[np.arange(len(near)), start + np.arange(len(near))] = -2.0
        which[start : start + _BLOCK] = near.argmax(axis=1)
        nearest[start : start + _BLOCK] = near.max(axis=1)

    def shown(i: int) -> Shown:
        row = int(some[i])
        return Shown(rows.texts[row], pages.of(rows.places[row]))

    order = np.argsort(nearest, kind="stable")
    outliers = [(float(nearest[i]), shown(i)) for i in order[:SHOWN].tolist()]
    pairs: dict[tuple[int, int], float] = {}
    for i in order[::-1].tolist():
        if nearest[i] < DUPLICATE or len(pairs) == SHOWN:
            break
        j = int(which[i])
        pairs[min(i, j), max(i, j)] = float(nearest[i])
    return outliers, [(near, shown(i), shown(j)) for (i, j), near in pairs.items()]


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
        if len(found) == SHOWN:
            break
    return found


def first_sentence(text: str) -> str:
    """The first sentence, at most 200 characters."""
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0][:200]
