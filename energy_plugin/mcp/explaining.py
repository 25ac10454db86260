"""Why a row was found where it was: terms, words, neighbours, and another row beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.mcp.finding import cut, texts_of

if TYPE_CHECKING:
    from energy_plugin.library.stores.store import Hit
    from energy_plugin.mcp.shelf import Shelf

_DEPTHS = (50, 1000)  # of the search that has to find the rows
_MEANING = {
    "dirichlet": "distance from the question in the field's metric, after heat has flowed",
    "lambda": "gap between its λ and that of the question",
    "dispersion": "gap between its dispersion and that of the question",
    "lexical": "what shared words, and those of its neighbours, took off",
}


def explain(
    shelf: Shelf, question: str, row: str, other: str | None, ranking: str | None
) -> dict[str, Any]:
    """The terms of a row's distance, its neighbours, and why it is above another or below.

    Raises
    ------
    InvalidInputError
        The ranking has no terms, or a row is not among the first thousand.
    """
    chosen = shelf.ranking(ranking)
    if chosen not in ("hybrid", "energy"):
        raise InvalidInputError(
            f"ranking is {chosen!r}, expected hybrid or energy: others have "
            "a single number, not terms"
        )
    wanted = [row] if other is None else [row, other]
    placed = _placed(shelf, question, wanted, chosen)
    hit = placed[row][1]
    index, ids = shelf.index()
    near = index.neighbours(shelf.row(row), 5)
    names = [ids[number] for number in near.ids.tolist()]
    known = texts_of(shelf, names)
    found = {
        "ranking": chosen,
        "row": _described(question, *placed[row]),
        "terms": _MEANING,
        "neighbours": [
            {**known.get(name, {"id": name}), "distance": round(distance, 4)}
            for name, distance in zip(names, near.distances.tolist(), strict=True)
        ],
    }
    if other is not None:
        found["other"] = _described(question, *placed[other])
        found["why"] = _why(row, hit, other, placed[other][1])
    return found


def shared_words(question: str, text: str) -> list[str]:
    """Words of the question whose stems the text has, in the question's order."""
    from energy_plugin.lexical.tokens import Tokenizer, words

    tokenizer = Tokenizer()
    held = set(tokenizer.terms(text))
    return [word for word in dict.fromkeys(words(question)) if held & set(tokenizer.terms(word))]


def _placed(
    shelf: Shelf, question: str, wanted: list[str], ranking: str
) -> dict[str, tuple[int, Hit]]:
    for depth in _DEPTHS:
        hits = shelf.ask(question, depth, where=None, ranking=ranking)
        placed = {hit.id: (place, hit) for place, hit in enumerate(hits, 1) if hit.id in wanted}
        if len(placed) == len(set(wanted)):
            return placed
        if len(hits) < depth:
            break
    missing = next(name for name in wanted if name not in placed)
    raise InvalidInputError(
        f"Row {missing!r} is not among the first {len(hits):,} results of this question. Pass an "
        "id that a search returned."
    )


def _described(question: str, place: int, hit: Hit) -> dict[str, Any]:
    return {
        "place": place,
        "id": hit.id,
        "source": hit.source,
        "text": cut(hit),
        "distance": round(hit.distance, 4),
        "relevance": None if hit.relevance is None else round(hit.relevance, 3),
        "terms": _rounded(hit.terms or {}),
        "shared_words": shared_words(question, hit.text),
    }


def _rounded(terms: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in terms.items()}


def _why(row: str, hit: Hit, other: str, rival: Hit) -> str:
    """One sentence: the terms that make the difference, the largest first."""
    if (rival.distance, other) < (hit.distance, row):
        row, hit, other, rival = other, rival, row, hit
    mine, theirs = hit.terms or {}, rival.terms or {}
    gaps = {name: theirs.get(name, 0.0) - mine.get(name, 0.0) for name in _MEANING}
    order = sorted(gaps, key=lambda name: -abs(gaps[name]))
    said = [
        f"{name} speaks {'for' if gaps[name] > 0 else 'against'} it by {abs(gaps[name]):.4f}"
        for name in order
        if abs(gaps[name]) >= 5e-5
    ]
    total = rival.distance - hit.distance
    reasons = "; ".join(said) or "all terms are equal"
    return f"{row!r} is above {other!r} by {total:.4f} of distance: {reasons}."
