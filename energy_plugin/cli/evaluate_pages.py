"""``energy-plugin eval --pages``: documents that are page images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from energy_plugin.cli.console import console, print_json, show_progress, table
from energy_plugin.errors import InvalidInputError

if TYPE_CHECKING:
    from energy_plugin.evaluation.pages import PagesReport


def reports(
    folders: Sequence[Path],
    pages: Sequence[Path],
    encoder: str,
    peers: Sequence[str],
    limit: int | None,
) -> list[PagesReport]:
    """One report a collection whose documents are page images.

    Raises
    ------
    InvalidInputError
        Not as many folders of pages as collections.
    """
    from energy_plugin.evaluation import load_collection
    from energy_plugin.evaluation.pages import evaluate_pages, load_pages, with_pages
    from energy_plugin.optical import load_encoder

    if len(folders) != len(pages):
        raise InvalidInputError(
            f"{len(folders)} collections and {len(pages)} folders of pages, expected a --pages "
            "for each"
        )
    model = load_encoder(encoder)
    made = []
    for folder, where in zip(folders, pages, strict=True):
        listed = load_pages(where)
        collection = with_pages(load_collection(folder), listed, limit)
        made.append(
            evaluate_pages(
                collection, listed, model, peers=peers, show_progress_bar=show_progress()
            )
        )
    return made


def print_reports(reports: Sequence[PagesReport], as_json: bool) -> None:
    """Print the reports as a table or as JSON."""
    if as_json:
        print_json({"sets": [report.to_dict() for report in reports]})
        return
    columns = (
        "collection",
        "pages",
        "reader",
        "ndcg@10",
        "of text",
        "words",
        "unread",
        "pages/s",
        "s/page",
    )
    made = table(*columns)
    for report in reports:
        made.add_row(report.name, "", "text", f"{report.text:.3f}", "100.0%", "", "", "", "")
        for name, score in report.readers.items():
            made.add_row(
                *(report.name, f"{report.pages:,}", name, f"{score.ndcg:.3f}"),
                *(f"{score.share:.1%}", f"{score.words:.1%}", str(score.unread)),
                *(f"{score.pages_per_second:.2f}", f"{score.seconds_a_page:.2f}"),
            )
    console().print(made)
    console().print("pages/s by the clock, s/page of all processors; readers take turns")
    for name in reports[0].readers:
        share = fmean(report.readers[name].ndcg for report in reports) / fmean(
            report.text for report in reports
        )
        console().print(f"{name}: {share:.1%} of the text's mean nDCG@10")
