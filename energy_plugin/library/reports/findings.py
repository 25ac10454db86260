"""What stands out, one sentence each: the first lines of the page, and of the command."""

from __future__ import annotations

from collections import Counter
from typing import Any

from energy_plugin.library.reports.contents import Contents
from energy_plugin.library.reports.coverage import ABSENT, ANSWERED, DOUBTFUL

_DISTORTED, _MOVED = 1.3, 1.0  # drift from which a new fit pays
_NAMED = 3


def findings(contents: Contents) -> list[str]:
    """Sentences about a collection, what matters most first."""
    found = [_changes(contents), _coverage(contents)]
    if contents.topics:
        named = [
            f"“{', '.join(topic.words[:2])}”" for topic in contents.topics[:_NAMED] if topic.words
        ]
        largest = f", the largest {listed(named)}" if named else ""
        found.append(f"{len(contents.topics)} topics{largest}.")
    rows = sum(each.rows for each in contents.duplicates)
    groups = contents.found["groups"]
    if groups:
        least = "at least " if groups > len(contents.duplicates) else ""
        found.append(f"{_count(groups, 'group')} of near-duplicates, {least}{rows:,} rows in all.")
    else:
        found.append("No near-duplicates.")
    alone, hubs = contents.found["outliers"], contents.found["hubs"]
    found.append(
        f"{_count(alone, 'row')} unlike all others." if alone else "No row is unlike all others."
    )
    if hubs:
        found.append(f"{_count(hubs, 'row')} near to very many others (hubs).")
    found.append(_drift(contents.facts))
    return [sentence for sentence in found if sentence]


def _changes(contents: Contents) -> str:
    made = contents.changes
    if made is None:
        return ""
    parts = [
        f"{len(names)} {what}"
        for names, what in (
            (made.added, "added"),
            (made.changed, "changed"),
            (made.removed, "removed"),
        )
        if names
    ]
    difference = contents.now.rows - made.rows_before
    if not parts and not difference:
        return f"Nothing changed since the last report ({day(made.since)})."
    said = f"documents {', '.join(parts)}" if parts else "rows changed"
    return f"Since the last report ({day(made.since)}): {said}; {difference:+,} rows."


def _coverage(contents: Contents) -> str:
    if contents.covered is None:
        return ""
    count = Counter(each.state for each in contents.covered)
    return (
        f"Of {_count(len(contents.covered), 'question')}, {count[ANSWERED]} answered, "
        f"{count[DOUBTFUL]} doubtful, {count[ABSENT]} not in here."
    )


def _drift(facts: dict[str, Any]) -> str:
    drift = facts.get("drift", {})
    distortion, moved = drift.get("distortion", 1.0), drift.get("lambda_shift", 0.0)
    if distortion > _DISTORTED or abs(moved) > _MOVED:
        return (
            f"The energy field no longer fits its rows (distortion {distortion:.2f}, λ shift "
            f"{moved:.2f}): run energy-plugin refit."
        )
    return ""


def listed(names: list[str]) -> str:
    """Names as a person says them: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def day(moment: str) -> str:
    """An ISO 8601 moment to the minute, without its zone."""
    return moment[:16].replace("T", " ")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
