"""The table of ``docs/benchmarks.md`` from a run."""

from __future__ import annotations

from typing import Any

AIMS = {  # what is measured: the key, the wording, the aim
    "ranking": [("times the copy", "4-bit ranking, in times of copying its bytes", "1.5")],
    "full": [("share of the matrix rate", "full encoder, share of the bf16 matrix rate", "0.4")],
}
RATES = {
    "ranking": [("rank_s", "seconds of the ranking"), ("copy_s", "seconds of the copy")],
    "fit": [
        ("fit_s", "seconds of the fit"),
        ("queries_per_second", "queries a second in a batch"),
        ("one_query_s", "seconds of one query"),
    ],
    "full": [("pages_per_second", "pages a second, full encoder")],
    "compact": [
        ("short_texts_per_second", "texts of 60 characters a second"),
        ("passages_per_second", "texts of 1,000 characters a second"),
    ],
    "training": [("pages_per_second", "pages a second in training")],
}


def table(run: dict[str, Any]) -> str:
    """Every number of a run: part, what, value, aim."""
    rows = []
    for name, found in run["parts"].items():
        if "error" in found:
            rows.append((name, "could not run", found["error"].splitlines()[0], ""))
            continue
        for key, words, aim in AIMS.get(name, []):
            rows.append((name, words, _shown(found[key]), aim))
        for key, words in RATES.get(name, []):
            rows.append((name, words, _shown(found[key]), ""))
        if name in {"equality", "encoder equality", "tests"}:
            rows += [(name, k, _shown(v), "") for k, v in found.items() if k != "took_s"]
        if name == "full":
            peer = found.get("peer")
            ratio = "not measured" if peer is None else _shown(peer["ratio"]["batch"])
            rows.append((name, "times transformers, one image at a time", ratio, "3"))
    head = f"{run['about']['device']}; torch {run['about']['torch']}."
    lines = ["| part | what | measured | aim |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "", *lines])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
