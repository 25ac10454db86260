"""What ``eval`` prints of judged collections."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from energy_plugin.cli.console import console, heading, p_value, table

if TYPE_CHECKING:
    from energy_plugin.evaluation import SetReport

MEANS = ("ndcg@10", "map", "mrr", "recall@10", "recall@100")
OF_A_SET = tuple(name for name in MEANS if name != "recall@10")  # a line has room for four


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


def _strata(reports: Sequence[SetReport]) -> dict[str, list[SetReport]]:
    """Sets whose questions have one answer, and the others, where there are both."""
    found = {
        "one answer": [report for report in reports if report.one_answer],
        "many answers": [report for report in reports if not report.one_answer],
    }
    return found if all(found.values()) else {}


def _corrected(reports: Sequence[SetReport]) -> dict[tuple[str, str], float]:
    """Wilcoxon's p of nDCG@10, corrected: (set, ranking) → q."""
    from energy_plugin.evaluation.compare import adjusted

    found = {
        (report.name, name): ranking.comparison["ndcg@10"].wilcoxon
        for report in reports
        for name, ranking in report.rankings.items()
        if "ndcg@10" in ranking.comparison
    }
    return dict(zip(found, adjusted(list(found.values())), strict=True))


def as_json(reports: Sequence[SetReport]) -> dict[str, Any]:
    """Give the one report, or all with their means."""
    corrected = _corrected(reports)
    sets = {}
    for report in reports:
        mine = {name: q for (of, name), q in corrected.items() if of == report.name}
        sets[report.name] = {**report.to_dict(), "corrected": mine}
    if len(reports) == 1:
        return sets[reports[0].name]
    strata = {name: _mean(some) for name, some in _strata(reports).items()}
    return {"sets": sets, "mean": _mean(reports), "strata": strata}


def print_tables(reports: Sequence[SetReport]) -> None:
    """Print a table a set, and those of the means."""
    out, corrected = console(), _corrected(reports)
    for report in reports:
        sizes = f"{report.documents:,} documents, {report.queries:,} judged queries"
        fit = report.rankings["energy"].fit_seconds
        out.print(heading(f"{report.name}: {sizes}; energy field fitted in {fit:.1f} s"))
        made = table("ranking", *OF_A_SET, "win/tie/loss", "p", "q", "ms")
        made.columns[0].no_wrap = True
        for name, ranking in report.rankings.items():
            result = ranking.comparison.get("ndcg@10")
            made.add_row(
                name,
                *(f"{ranking.mean[measure]:.3f}" for measure in OF_A_SET),
                f"{result.win}/{result.tie}/{result.loss}" if result else "",
                p_value(result.p_value) if result else "",
                p_value(corrected[report.name, name]) if result else "",
                f"{ranking.query_ms:.1f}",
            )
        out.print(made)
    if len(reports) > 1:
        _print_mean(reports, f"{len(reports)} sets")
        for name, some in _strata(reports).items():
            _print_mean(some, f"{len(some)} with {name} a question")


def _print_mean(reports: Sequence[SetReport], of: str) -> None:
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
    console().print(heading(f"mean of {of}, and change against cosine"))
    console().print(made)


def print_worst(reports: Sequence[SetReport]) -> None:
    """Print the queries of each set that lose most to cosine."""
    for report in reports:
        last = "hybrid" if "hybrid" in report.rankings else "energy"
        made = table("query", "cosine", last, "text")
        for each in report.rankings[last].worst:
            text = " ".join(each["text"].split())
            made.add_row(
                each["query"], f"{each['cosine']:.3f}", f"{each['value']:.3f}", f"{text:.70}"
            )
        console().print(heading(f"{report.name}: queries that {last} ranks worst, nDCG@10"))
        console().print(made)


def _change(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f}%" if base > 0 else ""


def line(report: SetReport) -> str:
    """What a set came to, printed when it is done: the tables come after the last set."""
    shown = ("cosine", "bm25", "rrf", "energy", "hybrid")
    means = {name: report.rankings[name].mean for name in shown if name in report.rankings}
    parts = [f"{name} {mean['ndcg@10']:.3f}" for name, mean in means.items()]
    return f"{report.queries} questions, nDCG@10: " + ", ".join(parts)
