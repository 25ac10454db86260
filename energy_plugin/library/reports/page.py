"""The page as one HTML document that needs nothing from anywhere."""

from __future__ import annotations

from energy_plugin.energy.result import CUT_OFF
from energy_plugin.library.reports.contents import SHOWN, About, Contents, Copies, Shown
from energy_plugin.library.reports.coverage import ABSENT, SURE, Covered
from energy_plugin.library.reports.details import details
from energy_plugin.library.reports.findings import day, findings
from energy_plugin.library.reports.likeness import DUPLICATE
from energy_plugin.library.reports.markup import safe, thumbnail
from energy_plugin.library.reports.style import STYLE

# A second wall behind the escaping: the page may load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PRINTED = 4  # entries of a list on paper
_MEMBERS = 5  # of a group of near-duplicates
_SHORT = 160  # characters of a row's text


def page(contents: Contents, pictures: dict[str, bytes]) -> str:
    """Write the document; every text of a row is escaped."""
    title = safe(contents.title)
    sections = (
        ("Questions", _coverage(contents)),
        ("Since the last report", _changes(contents)),
        ("What it is about", _topics(contents)),
        (f"Near-duplicates (cosine of at least {DUPLICATE})", _groups(contents.duplicates)),
        ("Rows unlike all others", _rows(contents.outliers)),
        ("Hubs: rows near to very many others", _rows(contents.hubs)),
    )
    body = "".join(
        f"<section><h2>{safe(name)}</h2>{part}</section>" for name, part in sections if part
    )
    stands_out = "".join(f"<li>{safe(each)}</li>" for each in findings(contents))
    compared = (
        f" Compared: {contents.compared:,} rows chosen at random."
        if contents.compared < contents.now.rows
        else ""
    )
    files = f" from {contents.files:,} files" if contents.files else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>
<style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class="soft">{contents.now.rows:,} rows{files} · {safe(day(contents.now.at))} UTC.{compared}</p>
<ul class="findings">{stands_out}</ul>
{body}
{details(contents, pictures)}
</body></html>
"""


def _topics(contents: Contents) -> str:
    return (
        f'<div class="cards">{"".join(map(_topic, contents.topics))}</div>'
        if contents.topics
        else ""
    )


def _topic(topic: About) -> str:
    named = "".join(f"<li>{_called(each)}</li>" for each in topic.typical)
    words = safe(", ".join(topic.words)) or "no common words"
    return (
        f'<div class="card"><b>{words}</b><small>{topic.rows:,} rows, such as</small>'
        f"<ul>{named}</ul></div>"
    )


def _called(shown: Shown) -> str:
    """What a person calls a row: its file, with its first words."""
    text = safe(shown.text, 70)
    return f"{thumbnail(shown.thumbnail)}<b>{safe(shown.name, 80)}</b> {text}"


def _groups(groups: list[Copies]) -> str:
    lines = []
    for place, group in enumerate(groups):
        named = ", ".join(safe(name, 80) for name in group.names[:_MEMBERS])
        over = len(group.names) - _MEMBERS
        more = f" and {over:,} more" if over > 0 else ""
        shared = f" of {group.passages:,} passages" if group.passages > 1 else ""
        first = group.example
        lines.append(
            f'<div class="row{_more(place)}">{thumbnail(first.thumbnail)}'
            f"<b>{group.rows:,} rows{shared}</b> {named}{more}"
            f'<small class="clip">{safe(first.text, _SHORT) or "no text"}</small></div>'
        )
    return "".join(lines)


def _rows(rows: list[Shown]) -> str:
    return "".join(
        f'<div class="row{_more(place)}">{thumbnail(each.thumbnail)}<b>{safe(each.name, 80)}</b> '
        f'{safe(each.remark)}<small class="clip">{safe(each.text, _SHORT) or "no text"}</small>'
        "</div>"
        for place, each in enumerate(rows)
    )


def _coverage(contents: Contents) -> str:
    if contents.covered is None:
        return ""
    note = (
        '<p class="soft">By the relevance of the best result: answered from '
        f"{SURE}, not in here below {CUT_OFF}; doubtful in between, or where a result has "
        "most of the question's words. The worst come first.</p>"
    )
    lines = (_covered(place, each, contents) for place, each in enumerate(contents.covered))
    return note + "".join(lines)


def _covered(place: int, each: Covered, contents: Contents) -> str:
    kind = "absent" if each.state == ABSENT else each.state
    hit = each.hit
    image, best = "", ""
    if hit is not None:
        page = "" if hit.page is None else f", page {hit.page}"
        image = thumbnail(contents.thumbnails.get(hit.id))
        best = f"{safe(f'{hit.source or hit.id}{page}', 80)}: {safe(hit.text, _SHORT)}"
    return (
        f'<div class="row{_more(place, 2 * _PRINTED)}">{image}<span class="state {kind}">'
        f"{each.state}</span><b>{safe(each.text)}</b> {each.relevance:.2f}"
        f'<small class="clip">{best}</small></div>'
    )


def _changes(contents: Contents) -> str:
    made = contents.changes
    if made is None:
        return ""
    lines = (
        f'<div class="row"><b>{len(names):,} {what}</b> {_some(names)}</div>'
        for names, what in (
            (made.added, "added"),
            (made.changed, "changed"),
            (made.removed, "removed"),
        )
        if names
    )
    return "".join(lines)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(safe(name, 80) for name in names[:SHOWN]) + more


def _more(place: int, printed: int = _PRINTED) -> str:
    """Class of entries that paper leaves out."""
    return " more" if place >= printed else ""
