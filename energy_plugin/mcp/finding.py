"""Search and reading: what an agent sees of the rows, and what was kept back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.stores.store import PINNED
from energy_plugin.mcp.filters import as_where
from energy_plugin.mcp.ledger import now

if TYPE_CHECKING:
    from energy_plugin.forgetting import Strength
    from energy_plugin.library.stores.store import Hit, Passage
    from energy_plugin.mcp.shelf import Shelf

CUT = 600  # characters of a text in a list of results
VALUE = "value"  # field of a note: how much it matters, 0 to 1
_WIDER = 4  # times the limit, that fading memories are chosen from


@dataclass(frozen=True)
class Question:
    """What to search for, and what may be found; see the tool ``search``."""

    text: str
    limit: int = 5
    filters: Mapping[str, Any] | None = None
    sources: list[str] | None = None
    ranking: str | None = None
    min_relevance: float = 0.0


def search(shelf: Shelf, asked: Question, fading: Strength | None) -> dict[str, Any]:
    """Results with their sources, and what was suppressed, each with its reason.

    Parameters
    ----------
    shelf : Shelf
    asked : Question
    fading : Strength, optional
        Results are ordered by relevance × strength, and `min_relevance` holds for the product.
    """
    from energy_plugin.energy.result import CUT_OFF
    from energy_plugin.validation import as_relevance

    least = as_relevance(asked.min_relevance) or 0.0
    ranking = shelf.ranking(asked.ranking)
    judged = ranking in ("hybrid", "energy")
    if not judged and least:
        raise InvalidInputError(
            f"min_relevance is {least:g}, but the ranking {ranking!r} has no relevance. Use "
            "hybrid or energy, or leave min_relevance out."
        )
    fading = fading if judged else None
    where = as_where(shelf.store.host, asked.filters, asked.sources)
    k = asked.limit if fading is None else max(20, _WIDER * asked.limit)
    hits = shelf.ask(asked.text, k, where=where, ranking=ranking)
    strengths = [1.0] * len(hits) if fading is None else _strengths(shelf, hits, fading)
    scored = [
        (hit, strength, None if hit.relevance is None else hit.relevance * strength)
        for hit, strength in zip(hits, strengths, strict=True)
    ]
    if fading is not None:
        scored.sort(key=lambda each: -(each[2] or 0.0))
    results: list[dict[str, Any]] = []
    suppressed: list[dict[str, Any]] = []
    for hit, strength, score in scored:
        shown = _hit(hit, strength if fading is not None else None, score)
        if score is not None and score < least:
            suppressed.append({**shown, "reason": _reason(hit, strength, least)})
        elif len(results) < asked.limit:
            results.append({"place": len(results) + 1, **shown})
        elif fading is not None and strength < 1 and (hit.relevance or 0) > _lowest(results):
            reason = f"faded to {strength:.2f} of its value: stronger rows took the places"
            suppressed.append({**shown, "reason": reason})
    found: dict[str, Any] = {"ranking": ranking, "results": results, "suppressed": suppressed}
    best = max((hit.relevance or 0.0 for hit in hits), default=0.0)
    if not hits:
        found["remark"] = "No row passes the filters."
    elif judged and best < CUT_OFF:
        found["remark"] = (
            f"The best relevance is {best:.2f}. Below {CUT_OFF:g} a row has probably nothing to "
            "do with the question."
        )
    return found


def read(shelf: Shelf, name: str, *, start: int = 0, characters: int = 20_000) -> dict[str, Any]:
    """A whole document, or one row.

    Parameters
    ----------
    shelf : Shelf
    name : str
        A source, whose passages are joined in order, or the id of one row.
    start, characters : int
        Stretch of the text.

    Raises
    ------
    InvalidInputError
        There is neither a source nor a row of that name.
    """
    passages = shelf.store.fetch(source=name) if _has_sources(shelf) else []
    if not passages:
        passages = shelf.store.fetch(ids=[name])
    if not passages:
        raise InvalidInputError(
            f"{name!r} is neither a source nor the id of a row in {shelf.store.name!r}. Pass one "
            "that a search returned."
        )
    passages = sorted(passages, key=lambda each: each.part or 0)
    text = "\n\n".join(each.text for each in passages)
    end = min(len(text), start + characters)
    first = passages[0]
    return {
        "name": name,
        "source": first.source,
        "passages": len(passages),
        "pages": sorted({each.page for each in passages if each.page is not None}),
        "modified": first.modified,
        "fields": dict(first.fields),
        "text": text[start:end],
        "start": start,
        "characters": len(text),
        "next_start": end if end < len(text) else None,
    }


def texts_of(shelf: Shelf, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Short descriptions of rows by id."""
    found = shelf.store.fetch(ids=list(names))
    return {each.id: {"id": each.id, "source": each.source, "text": cut(each)} for each in found}


def cut(row: Hit | Passage) -> str:
    """A row's text, shortened for a list."""
    text = row.text
    return text if len(text) <= CUT else f"{text[:CUT].rstrip()} …"


def _has_sources(shelf: Shelf) -> bool:
    if shelf.store.host == "chroma":
        return True
    return "source" in shelf.store.energy.schema.names


def _hit(hit: Hit, strength: float | None, score: float | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": hit.id, "source": hit.source}
    if hit.page is not None:
        shown["page"] = hit.page
    shown |= {"text": cut(hit), "distance": round(hit.distance, 4)}
    if hit.relevance is not None:
        shown["relevance"] = round(hit.relevance, 3)
    if strength is not None:
        shown |= {"strength": round(strength, 3), "score": round(score or 0.0, 3)}
    if hit.fields:
        shown["fields"] = dict(hit.fields)
    return shown


def _strengths(shelf: Shelf, hits: Sequence[Hit], fading: Strength) -> list[float]:
    from energy_plugin.forgetting import ages_in_days

    known = {each.id: each for each in shelf.store.fetch(ids=[hit.id for hit in hits])}
    rows = [known.get(hit.id) for hit in hits]
    ages = ages_in_days([None if row is None else row.modified for row in rows], now())
    fields: list[Mapping[str, Any]] = [{} if row is None else row.fields for row in rows]
    values = [_value(each) for each in fields]
    strengths = fading.of(ages, values, [bool(each.get(PINNED)) for each in fields])
    return [float(each) for each in strengths]


def _value(fields: Mapping[str, Any]) -> float:
    value = fields.get(VALUE)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if known and value is not None else math.nan


def _reason(hit: Hit, strength: float, least: float) -> str:
    if (hit.relevance or 0.0) < least:
        return f"relevance {hit.relevance:.2f} is below {least:g}"
    return (
        f"relevance {hit.relevance:.2f} × strength {strength:.2f} (value × freshness) is below "
        f"{least:g}"
    )


def _lowest(results: Sequence[Mapping[str, Any]]) -> float:
    return min((each.get("relevance", 0.0) for each in results), default=0.0)
