"""The tables of the documentation, from the JSON of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.busy import COLUMNS, lines

BEGIN, END = "<!-- bench: {} -->", "<!-- end -->"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def machine(run: dict[str, Any]) -> str:
    """Where and how it was measured."""
    about = run["machine"]
    load = about["load"]
    return (
        f"{about['processor']}, {about['threads']} threads, {about['memory_gib']:.0f} GiB; "
        f"load average {load[0]:.1f} before and {load[1]:.1f} after the run; "
        f"{about['peak_gib']:.1f} GiB at most in use; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + "."
    )


def codes(run: dict[str, Any]) -> str:
    """Recall@10 of every codec on every collection, by bytes."""
    parts = run["codes"]
    sizes = {c["name"]: c["bytes"] for part in parts for c in part["codecs"]}
    scores = [{c["name"]: c["recall@10"] for c in part["codecs"]} for part in parts]
    rows = [
        [name, str(size), *(f"{s[name]:.3f}" if name in s else "" for s in scores)]
        for name, size in sorted(sizes.items(), key=lambda item: (item[1], item[0]))
    ]
    heads = [f"{part['vectors']} {part['rows']:,}" for part in parts]
    return _table(["codec", "bytes", *heads], rows)


def rivals(run: dict[str, Any]) -> str:
    """The best of both sides near each size."""
    rows = []
    for part in run["codes"]:
        for at in part["at"]:
            own, rival = at["energy"], at["rival"]
            rows.append(
                [
                    part["vectors"],
                    str(at["bytes"]),
                    f"{own['recall@10']:.3f}",
                    f"{rival['recall@10']:.3f}",
                    f"{rival['name']}, {rival['bytes']} bytes",
                    f"{own['recall@10'] - rival['recall@10']:+.3f}",
                ]
            )
    return _table(["vectors", "bytes", "energy", "best rival", "which", "difference"], rows)


def jacobians(run: dict[str, Any]) -> str:
    """Error and recall@10 of residual codes, plain and with a Jacobian per anchor."""
    rows = [
        [
            f"{part['vectors']} {part['rows']:,}, {part['anchors']} anchors",
            str(line["bits"]),
            *(f"{line[name]['error']:.4f}" for name in ("plain", "jacobians")),
            *(f"{line[name]['recall@10']:.3f}" for name in ("plain", "jacobians")),
        ]
        for part in run["jacobians"]
        for line in part["widths"]
    ]
    columns = ("vectors", "bits", "error", "with Jacobians", "recall@10", "with Jacobians")
    return _table(columns, rows)


def judged(run: dict[str, Any]) -> str:
    """nDCG@10 of the default ranking at each number of bits beside cosine of float32."""
    rows = [
        [name, *(f"{value:.3f}" for value in scores.values())]
        for name, scores in run["judged"].items()
    ]
    first = next(iter(run["judged"].values()))
    return _table(["collection", *first], rows)


def speed(run: dict[str, Any]) -> str:
    """Batches."""
    rows = []
    for part in run["speed"]:
        for name, made in part["rankings"].items():
            rows.append(
                [
                    f"{part['rows']:,} × {part['dim']}, {part['anchors']} anchors",
                    name,
                    f"{made['queries_per_s']:,.0f}",
                    f"{made['cpu_ms']:.2f}",
                    f"{made['batch_recall@10']:.3f}",
                    f"{made['single_recall@10']:.3f}",
                ]
            )
    columns = ("rows", "ranking", "queries/s", "CPU ms", "recall@10, batch", "recall@10, single")
    return _table(columns, rows)


def singles(run: dict[str, Any]) -> str:
    """One query at a time; the columns of busy cores where they were measured."""
    kinds = {
        "p50_ms": "p50 ms",
        "p95_ms": "p95 ms",
        "min_ms": "fastest ms",
        "cpu_ms": "CPU ms (median)",
        "busy_p50_ms": "busy: p50 ms",
        "busy_p95_ms": "busy: p95 ms",
    }
    made = [(part, name, times) for part in run["speed"] for name, times in part["singles"].items()]
    kinds = {key: head for key, head in kinds.items() if any(key in times for *_, times in made)}
    rows = [
        [
            f"{part['rows']:,} × {part['dim']}",
            name,
            *(f"{times[key]:.2f}" if key in times else "" for key in kinds),
        ]
        for part, name, times in made
    ]
    return _table(["rows", "search", *kinds.values()], rows)


def hosts(run: dict[str, Any]) -> str:
    """Energy in each host beside the plain search of the same rows, without and with other work."""
    rows = [
        [f"{part['rows']:,} × {part['dim']}", host, *cells]
        for part in run["hosts"]
        for host, found in part["hosts"].items()
        for cells in lines(found)
    ]
    return _table(["rows", "host", *COLUMNS], rows)


def upkeep(run: dict[str, Any]) -> str:
    """Recall of added rows."""
    rows = [
        [
            f"{100 * part['share']:.0f} % {part['order']}",
            name,
            f"{state['recall@10']:.3f}",
            next(f"{v:.3f}" for key, v in state.items() if key.endswith("cells") and "," in key),
            f"{state['rows_scored']:,.0f}",
            f"{state['distortion']:.2f}",
            f"{state['cells']}",
        ]
        for part in run["upkeep"]
        for name, state in part["states"].items()
    ]
    columns = ("new rows", "state", "recall@10", "16 cells", "rows scored", "distortion", "cells")
    return _table(columns, rows)


def build(run: dict[str, Any]) -> str:
    """Build times."""
    rows = []
    for part in run["build"]:
        other = part.get("arrowspace")
        rows.append(
            [
                f"{part['rows']:,} × {part['dim']}",
                f"{part['energy_s']:.3f}",
                f"{other['seconds']:.2f} ({other['version']})" if other else "",
                f"{part['times_faster']:.0f}" if other else "",
            ]
        )
        grown = part.get("growth", {"rows": [], "seconds": [], "exponent": 0.0})
        rows += [
            [f"{count:,} × {part['dim']}", f"{seconds:.2f}", "", ""]
            for count, seconds in zip(grown["rows"], grown["seconds"], strict=True)
        ]
        if grown["rows"]:
            rows.append(["seconds grow as rows to the power", f"{grown['exponent']:.2f}", "", ""])
    return _table(["rows", "EnergyIndex.fit s", "arrowspace build_energy s", "times faster"], rows)


TABLES = {
    "machine": ("machine", machine),
    "codes": ("codes", codes),
    "rivals": ("codes", rivals),
    "jacobians": ("jacobians", jacobians),
    "judged": ("judged", judged),
    "speed": ("speed", speed),
    "singles": ("speed", singles),
    "hosts": ("hosts", hosts),
    "upkeep": ("upkeep", upkeep),
    "build": ("build", build),
}


def fill(page: str, run: dict[str, Any]) -> str:
    """A page with its tables rewritten; those whose part was not run stay.

    Raises
    ------
    InvalidInputError
        A mark of an unknown table, or one without an end.
    """
    out, rest = [], page
    while "<!-- bench: " in rest:
        head, _, tail = rest.partition("<!-- bench: ")
        name, _, tail = tail.partition(" -->")
        old, end, tail = tail.partition(END)
        if name not in TABLES or not end:
            raise InvalidInputError(
                f"The page marks a table {name!r}, expected one of {sorted(TABLES)} between "
                f"'{BEGIN.format('NAME')}' and '{END}'."
            )
        part, make = TABLES[name]
        body = f"\n{make(run)}\n" if part in run else old
        out += [head, BEGIN.format(name), body, END]
        rest = tail
    return "".join([*out, rest])
