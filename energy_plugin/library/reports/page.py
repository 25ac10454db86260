"""The page as one HTML document that needs nothing from anywhere."""

from __future__ import annotations

import base64
import html
import re
from typing import Any

from energy_plugin.library.reports.contents import DUPLICATE, Contents, Question, Shown
from energy_plugin.library.stores.store import Hit

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;margin:2rem auto;
padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;width:100%}
td,th{padding:.3rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid #eee}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;width:4.5rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:1rem}
figure{margin:0}img{width:100%}figcaption{font-size:.85rem;color:#555}
.facts td:first-child{width:13rem;color:#555}
.both{display:grid;grid-template-columns:1fr 1fr;gap:1rem}
.both ol{margin:.2rem 0;padding-left:1.4rem;font-size:.88rem}
img.page{width:auto;max-height:150px;border:1px solid #ccc;float:right;margin:0 0 .3rem .6rem}
li,td{overflow:hidden}
.both b{font-size:.85rem;color:#555}.new{background:#fff3cd}h3{font-size:1rem;margin:1rem 0 .2rem}
"""
# A second wall behind the escaping: the page may load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MOST = 280  # characters of a text


def page(contents: Contents, pictures: dict[str, bytes]) -> str:
    """Write the document; every text of a row is escaped."""
    title = safe(f"Energy field of {contents.title}")
    plots = "".join(_figure(caption, image) for caption, image in pictures.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{_STYLE}</style></head><body>
<h1>{title}</h1>
<table class="facts">{"".join(_fact(*each) for each in contents.facts.items())}</table>
<p>Drift near distortion 1 and λ shift 0: the field fits the rows. Above about 1.3 or 1, a new
fit pays.</p>
<h2>The field</h2><div class="plots">{plots}</div>
<h2>Outliers</h2><p>Rows farthest from every other one; cosine to the nearest, of
{contents.compared:,} rows compared.</p>
{_rows([(near, text) for near, text in contents.outliers])}
<h2>Near-duplicates</h2><p>Pairs with a cosine of at least {DUPLICATE}.</p>
{_rows(list(contents.duplicates))}
<h2>Queries</h2><p>First sentences of rows, chosen at random. Marked: only in one of the two.</p>
{"".join(_question(each, contents.thumbnails) for each in contents.questions)}
</body></html>
"""


def safe(text: str) -> str:
    """Text for HTML: on one line, cut, without control and direction characters, escaped."""
    flat = " ".join(_CONTROL.sub(" ", text).split())
    return html.escape(flat if len(flat) <= _MOST else flat[: _MOST - 1] + "…")


def _figure(caption: str, image: bytes) -> str:
    data = base64.b64encode(image).decode("ascii")
    shown = safe(caption)
    return (
        f'<figure><img alt="{shown}" src="data:image/png;base64,{data}">'
        f"<figcaption>{shown}</figcaption></figure>"
    )


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        pairs = (
            f"{key}: {each:.3f}" if isinstance(each, float) else f"{key}: {each:,}"
            for key, each in value.items()
        )
        value = "; ".join(pairs)
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    return f"<tr><td>{safe(name.replace('_', ' '))}</td><td>{safe(shown)}</td></tr>"


def _rows(rows: list[Any]) -> str:
    if not rows:
        return "<p>None.</p>"
    lines = (
        f'<tr><td class="n">{near:.3f}</td>'
        + "".join(f"<td>{_row(each)}</td>" for each in shown)
        + "</tr>"
        for near, *shown in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _row(shown: Shown) -> str:
    return f"{_thumbnail(shown.thumbnail)}{safe(shown.text) or '<i>no text</i>'}"


def _thumbnail(image: bytes | None) -> str:
    if image is None:
        return ""
    data = base64.b64encode(image).decode("ascii")
    return f'<img class="page" alt="page" src="data:image/jpeg;base64,{data}">'


def _question(question: Question, thumbnails: dict[str, bytes]) -> str:
    cosine, energy = question.cosine, question.energy
    return (
        f"<h3>{safe(question.text)}</h3><div class='both'>"
        f"<div><b>cosine</b>{_hits(cosine, energy, thumbnails)}</div>"
        f"<div><b>energy</b>{_hits(energy, cosine, thumbnails)}</div></div>"
    )


def _hits(hits: list[Hit], others: list[Hit], thumbnails: dict[str, bytes]) -> str:
    there = {hit.id for hit in others}
    lines = (
        f"<li{'' if hit.id in there else ' class=new'}>"
        f"{_thumbnail(thumbnails.get(hit.id))}{hit.distance:.3f} {safe(_named(hit))}</li>"
        for hit in hits
    )
    return f"<ol>{''.join(lines)}</ol>"


def _named(hit: Hit) -> str:
    return hit.text if hit.page is None else f"{hit.source}, page {hit.page}: {hit.text}"
