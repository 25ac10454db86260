"""What ``eval`` prints of judged collections."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from energy_plugin.cli.console import console, heading, p_value, table

if TYPE_CHECKING:
    from energy_plugin.evaluation import SetReport

MEANS = ("ndcg@10", "map", "mrr", "recall@10", "recall@100")


def _mean(reports: Sequence[SetReport]) -> dict[str, dict[str, float]]:
    """Means over the sets: ranking → measure → value; rankings that every set has."""
    names = [name for name in reports[0].rankings if all(name in r.rankings for r in reports)]
    return {
        ranking: {
            measure: fmean(report.rankings[ranking].mean[measure] for report in reports)
            for measure in MEANS
        }
        for ranking in names
    }


def as_json(reports: Sequence[SetReport]) -> dict[str, Any]:
    """Give the one report, or all with their mean."""
    if len(reports) == 1:
        return reports[0].to_dict()
    return {"sets": {r.name: r.to_dict() for r in reports}, "mean": _mean(reports)}


def print_tables(reports: Sequence[SetReport]) -> None:
    """Print a table a set, and one of the means."""
    out = console()
    for report in reports:
        sizes = f"{report.documents:,} documents, {report.queries:,} judged queries"
        fit = report.rankings["energy"].fit_seconds
        out.print(heading(f"{report.name}: {sizes}; energy field fitted in {fit:.1f} s"))
        made = table("ranking", *MEANS, "win/tie/loss", "p", "ms/query")
        for name, ranking in report.rankings.items():
            result = ranking.comparison.get("ndcg@10")
            made.add_row(
                name,
                *(f"{ranking.mean[measure]:.3f}" for measure in MEANS),
                f"{result.win}/{result.tie}/{result.loss}" if result else "",
                p_value(result.p_value) if result else "",
                f"{ranking.query_ms:.1f}",
            )
        out.print(made)
    if len(reports) > 1:
        out.print(heading(f"mean of {len(reports)} sets, and change against cosine"))
        made = table("ranking", *MEANS)
        mean = _mean(reports)
        for name, values in mean.items():
            cells = [f"{values[measure]:.3f}" for measure in MEANS]
            if name != "cosine":
                cells = [
                    f"{cell} {_change(values[measure], mean['cosine'][measure])}"
                    for cell, measure in zip(cells, MEANS, strict=True)
                ]
            made.add_row(name, *cells)
        out.print(made)


def _change(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f}%" if base > 0 else ""
