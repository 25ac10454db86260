"""The part for experts: the field, its plots, and sample queries."""

from __future__ import annotations

from typing import Any

from energy_plugin.library.reports.contents import Contents, Question
from energy_plugin.library.reports.markup import figure, safe, thumbnail
from energy_plugin.library.stores.store import Hit


def details(contents: Contents, pictures: dict[str, bytes]) -> str:
    """Facts, plots and sample queries; folded on the screen, left out on paper."""
    plots = "".join(figure(caption, image) for caption, image in pictures.items())
    asked = "".join(_question(each, contents.thumbnails) for each in contents.questions)
    facts = "".join(_fact(*each) for each in contents.facts.items())
    return f"""<details class="expert" open><summary>The energy field in detail</summary>
<p><b>λ</b> (taumode) tells how rough a row looks on the graph of the collection: high is unusual.
<b>G</b> (dispersion) tells how unevenly that roughness is spread: high is concentrated in few
places.</p>
<div class="plots">{plots}</div>
<h2>Facts</h2><table>{facts}</table>
<p class="soft">Drift near distortion 1 and λ shift 0 means that the field fits the rows. Above
about 1.3 or 1, run <code>energy-plugin refit</code>.</p>
<h2>Sample queries</h2><p class="soft">First sentences of rows chosen at random. Marked: found by
only one of the two rankings.</p>{asked}</details>"""


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        pairs = (
            f"{key}: {each:.3f}" if isinstance(each, float) else f"{key}: {each:,}"
            for key, each in value.items()
        )
        value = "; ".join(pairs)
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    return f"<tr><td>{safe(name.replace('_', ' '))}</td><td>{safe(shown)}</td></tr>"


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
        f"{thumbnail(thumbnails.get(hit.id))}{safe(_named(hit))}</li>"
        for hit in hits
    )
    return f"<ol>{''.join(lines)}</ol>"


def _named(hit: Hit) -> str:
    return hit.text if hit.page is None else f"{hit.source}, page {hit.page}: {hit.text}"
