"""The published experiment of arrowspace on vulnerability texts, with judged answers.

The reference asked three queries of 1,681 CVE texts over a grid of η and steps of its heat flow,
and judged the answers by their agreement with its own standard index. Here the answers are judged
by the texts: by the class of weakness, or by the identity of the vulnerability. All rankings use
the same vectors, queries and judgements; arrowspace needs its own Python.

Usage: python examples/vulnerabilities PATH [--judge identity [--titles PATH]]
           [--arrowspace PYTHON] [--out FOLDER] [--hide-names]

PATH is a text file (also .gz) with one description per line, or a folder of CVE records in JSON
(format 5). Nothing of it is copied. In CVE records the CWE tells the class of weakness, in a text
file the words that name it.

--judge identity: each query describes one vulnerability in other words, and the description of
that vulnerability is its one answer. The queries are
  - the titles of the CVE records in PATH;
  - or, with --titles, those of a folder of CVE records or OSV advisories with the same CVE number,
    or the lines of a text file that name the same product, file and version as one description;
  - or, for a text file alone, the first sentences, which are taken out of the descriptions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import judging
import numpy as np
import rankings
import reference
import tables
from records import Record, read

PUBLISHED = "the three published queries"


@dataclass
class Task:
    """Texts, queries, and the rows that answer each query."""

    texts: list[str]
    queries: list[str]
    judged: list[set[int]]
    groups: dict[str, list[int]]


def by_weakness(records: Sequence[Record], given: argparse.Namespace) -> Task:
    """A query per class of weakness that any text describes."""
    chosen = np.random.default_rng(given.seed).permutation(len(records))[: given.count]
    kept = [records[i] for i in chosen]
    named = [record.weaknesses for record in kept]
    rows = {c: {row for row, each in enumerate(named) if c in each} for c in judging.CLASSES}
    asked = [c for c in judging.CLASSES if rows[c]]
    print("answers: " + ", ".join(f"CWE-{c} {len(rows[c])}" for c in asked))
    texts = [record.text for record in kept]
    return Task(
        [judging.without_weakness(text) for text in texts] if given.hide_names else texts,
        [judging.CLASSES[c][0] for c in asked],
        [rows[c] for c in asked],
        {
            PUBLISHED: [q for q, c in enumerate(asked) if c in judging.PUBLISHED],
            f"all {len(asked)} queries": list(range(len(asked))),
        },
    )


def by_identity(records: Sequence[Record], given: argparse.Namespace) -> Task:
    """A query per vulnerability that is described twice; the other rows are drawn at random."""
    texts = [record.text for record in records]
    if given.titles is not None:
        titles = read(given.titles)
        named = any(title.names for title in titles)
        pairs = (judging.by_name if named else judging.by_product)(records, titles)
    elif any(record.title for record in records):
        pairs = {row: record.title for row, record in enumerate(records) if record.title}
    else:
        split = [judging.halves(text) for text in texts]
        texts = [rest for _, rest in split]
        pairs = {row: first for row, (first, _) in enumerate(split) if first}
    if not pairs:
        raise SystemExit("No two texts describe the same vulnerability. Pass --titles.")
    order = np.random.default_rng(given.seed).permutation(len(texts)).tolist()
    asked = [row for row in order if row in pairs][: min(given.queries, given.count)]
    taken = set(asked)
    chosen = [*asked, *(row for row in order if row not in taken)][: given.count]
    print(f"{len(pairs)} vulnerabilities are described twice")
    same: dict[str, set[int]] = {}
    for place, row in enumerate(chosen):
        same.setdefault(texts[row], set()).add(place)
    queries = [pairs[row] for row in asked]
    return Task(
        [texts[row] for row in chosen],
        [judging.without_identity(query) for query in queries] if given.hide_names else queries,
        [same[texts[row]] for row in asked],
        {f"{len(asked)} vulnerabilities by identity": list(range(len(asked)))},
    )


def run(given: argparse.Namespace) -> None:
    """One run of the experiment."""
    task = (by_identity if given.judge == "identity" else by_weakness)(read(given.path), given)
    print(f"{len(task.texts)} texts, {len(task.queries)} queries")

    from energy_plugin.evaluation.vectors import normalise
    from energy_plugin.library.embedders import load_embedder

    embedder = load_embedder(given.embedder)
    rows = normalise(embedder.encode_document(task.texts))
    queries = normalise(np.stack([embedder.encode_query(query) for query in task.queries]))
    ranked, grids, picked = _ranked(given, task, rows, queries)
    found = {name: judging.scores(ids, task.judged) for name, ids in ranked.items()}
    cells = {
        name: {cell: judging.scores(ids, task.judged) for cell, ids in grid.items()}
        for name, grid in grids.items()
    }
    out: dict[str, Any] = {"texts": len(task.texts), "answers": [len(r) for r in task.judged]}
    for title, which in task.groups.items():
        if not which:
            continue
        lines = {name: _of(scores, which) for name, scores in found.items()}
        marked = {
            name: {cell: _of(scores, which) for cell, scores in grid.items()}
            for name, grid in cells.items()
        }
        for name, grid in marked.items():
            best = max(grid, key=lambda cell: grid[cell]["nDCG@10"].mean())
            lines[f"{name}, mean of the grid"] = {
                m: np.mean([scores[m] for scores in grid.values()], axis=0) for m in grid[best]
            }
            lines[f"{name}, best cell by the answers, η {best[0]} steps {best[1]}"] = grid[best]
        for how, (name, cell) in picked.items():
            lines[f"{how}: η {cell[0]} steps {cell[1]}"] = marked[name][cell]
        tables.table(title, lines)
        out[title] = {
            "rankings": {name: _means(scores) for name, scores in lines.items()},
            "grids": {
                name: [{"eta": e, "steps": s, **_means(grid[e, s])} for e, s in grid]
                for name, grid in marked.items()
            },
        }
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            file = "heatmaps-three.png" if title == PUBLISHED else "heatmaps.png"
            tables.heatmaps(marked, given.out / file)
    if given.out is not None:
        (given.out / "results.json").write_text(json.dumps(out, indent=1), encoding="utf-8")


def _ranked(
    given: argparse.Namespace, task: Task, rows: np.ndarray, queries: np.ndarray
) -> tuple[dict, dict, dict]:
    """Rankings by name, grids of rankings, and the cells that are chosen without labels."""
    ranked = rankings.without_labels(task.texts, rows, queries, task.queries)
    fields = rankings.grid(rows, given.steps)
    grids = {
        "energy": {
            cell: field.search(queries, k=rankings.DEPTH).ids for cell, field in fields.items()
        }
    }
    lambdas = {"energy": {cell: field.columns.lambda_ for cell, field in fields.items()}}
    own = rankings.by_own_queries(fields, rows, given.seed)
    picked = {"energy, by its own queries": ("energy", own)}
    if given.arrowspace is not None:
        said = reference.run(given.arrowspace, rows, queries, given.steps)
        name = f"arrowspace {said['version']}"
        for tau, ids in said["taus"].items():
            ranked[f"{name} search, τ {tau}"] = reference.square(ids)
        cells = {(each["eta"], each["steps"]): each for each in said["grid"]}
        grids[name] = {cell: reference.square(each["ids"]) for cell, each in cells.items()}
        lambdas[name] = {cell: np.array(each["lambdas"]) for cell, each in cells.items()}
        print(f"{name}: build_energy took {np.mean([e['seconds'] for e in cells.values()]):.1f} s")
    for name, of in lambdas.items():
        best = min(of, key=lambda cell: reference.spectrum_cost(of[cell]))
        picked[f"{name}, by the spectrum"] = name, best
    return ranked, grids, picked


def _of(scores: tables.Scores, which: list[int]) -> tables.Scores:
    return {name: values[which] for name, values in scores.items()}


def _means(scores: tables.Scores) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in scores.items()}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="vulnerabilities",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--judge", choices=("weakness", "identity"), default="weakness")
    parser.add_argument("--titles", type=Path, help="other descriptions of the same texts")
    parser.add_argument("--arrowspace", type=Path, metavar="PYTHON")
    parser.add_argument("--count", type=int, default=1681, help="texts to draw")
    parser.add_argument("--queries", type=int, default=200, help="queries to draw, by identity")
    parser.add_argument("--steps", type=int, nargs="+", default=rankings.STEPS, help="of the grid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hide-names",
        action="store_true",
        help="take out the words that the judgements rest on: the weakness in the texts, "
        "or file names and versions in the queries",
    )
    parser.add_argument("--embedder", default="compact")
    parser.add_argument("--out", type=Path, help="folder for the heatmaps and results.json")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
