"""The published experiment of arrowspace on vulnerability texts, with judged answers.

The reference asked three questions of 1,681 CVE texts over a grid of η and steps of its heat flow,
and judged the answers by their agreement with its own standard index. Here a text answers a
question if it describes that class of weakness. Both rankings run over the same vectors, questions
and judgements; the other one needs a Python of its own.

Usage: python examples/vulnerabilities.py PATH [--arrowspace PYTHON] [--out FOLDER] [--hide-names]

PATH is a text file (also .gz) with one description a line, where the words that name a weakness
tell its class; or a folder of CVE records in JSON (format 5), where their CWE does. Nothing of it
is copied. --hide-names takes the words that name the weakness out of the texts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ETAS, STEPS = (0.22, 0.535, 1.0), (2, 4, 6, 8, 10)  # of the published grid
DEPTH = 100
# CWE: (question, words that name the weakness). The first three are the published questions.
CLASSES = {
    "22": ("authenticated arbitrary file read path traversal", r"(directory|path) traversal"),
    "94": (
        "remote code execution in ERP web component",
        r"remote code execution|(PHP|code|eval|template) injection|"
        r"(remote|local) file inclusion|execute arbitrary PHP code",
    ),
    "89": ("SQL injection in login endpoint", r"SQL injection"),
    "79": (
        "script put into a web page runs in the browser of another user",
        r"cross[- ]site[- ]scripting|\bXSS\b",
    ),
    "352": (
        "a forged request makes a logged-in user change settings unknowingly",
        r"cross[- ]site request forgery|\bCSRF\b",
    ),
    "119": (
        "copying too much data past the end of memory",
        r"buffer overflow|buffer overrun|out-of-bounds write",
    ),
    "416": ("memory is used after it was freed", r"use[- ]after[- ]free"),
    "190": ("arithmetic wraps around and a size becomes too small", r"integer (over|under)flow"),
    "611": ("a parser loads external entities of a document", r"XML external entit\w+|\bXXE\b"),
    "918": (
        "the server is made to send requests to internal hosts",
        r"server[- ]side request forgery|\bSSRF\b",
    ),
    "134": ("untrusted input becomes the format of printf", r"format string"),
    "476": ("crash by following an empty pointer", r"NULL pointer dereference"),
    "601": ("a crafted link sends users to a phishing site", r"open redirect\w*"),
    "78": (
        "shell metacharacters in a parameter run operating system commands",
        r"(OS |shell )?command injection|shell metacharacters",
    ),
    "434": ("uploading an executable file to the web server", r"unrestricted (file )?upload"),
    "798": (
        "a default password is built into the device",
        r"hard-?coded (credential|password|key)s?",
    ),
    "362": ("two threads change the same resource at once", r"race condition"),
}
KIN = {  # classes of CWE that are kinds of one above
    **dict.fromkeys(("23", "35", "36"), "22"),
    **dict.fromkeys(("95", "96", "98", "1336"), "94"),
    **dict.fromkeys(("120", "121", "122", "787"), "119"),
    **dict.fromkeys(("77", "88"), "78"),
    **dict.fromkeys(("191", "680"), "190"),
    "80": "79",
    "321": "798",
}


def read(path: Path) -> list[tuple[str, set[str]]]:
    """Texts with the classes of weakness that they describe, each text once."""
    found: dict[str, set[str]] = {}
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            text, classes = _record(json.loads(file.read_text("utf-8")))
            if text:
                found.setdefault(text, set()).update(classes)
        return list(found.items())
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.strip()
            if text:
                named = {c for c, (_, words) in CLASSES.items() if re.search(words, text, re.I)}
                found[text] = named
    return list(found.items())


def _record(record: dict) -> tuple[str, set[str]]:
    cna = record.get("containers", {}).get("cna", {})
    texts = [
        d.get("value", "") for d in cna.get("descriptions", []) if d.get("lang", "en")[:2] == "en"
    ]
    weak = {
        d.get("cweId", "").removeprefix("CWE-")
        for kind in cna.get("problemTypes", [])
        for d in kind.get("descriptions", [])
    }
    return " ".join(texts).strip(), {KIN.get(c, c) for c in weak} & CLASSES.keys()


def hidden(text: str) -> str:
    """A text without the words that name a weakness."""
    for _, words in CLASSES.values():
        text = re.sub(words, "", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def scores(ranking: np.ndarray, judged: list[set[int]]) -> dict[str, float]:
    """MRR, MAP@20, nDCG@10, recall@10 and recall@20, means over the questions."""
    import ir_measures as ir

    wanted = {"MRR": ir.RR, "MAP@20": ir.AP @ 20, "nDCG@10": ir.nDCG @ 10}
    wanted |= {"recall@10": ir.R @ 10, "recall@20": ir.R @ 20}
    qrels = {str(q): {str(row): 1 for row in rows} for q, rows in enumerate(judged)}
    run = {
        str(q): {str(row): float(-place) for place, row in enumerate(rows) if row >= 0}
        for q, rows in enumerate(ranking.tolist())
    }
    found = ir.calc_aggregate(list(wanted.values()), qrels, run)
    return {name: float(found[measure]) for name, measure in wanted.items()}


def maniscope(rows: np.ndarray, queries: np.ndarray, k: int = 5, alpha: float = 0.3) -> np.ndarray:
    """Cosine's first in the order of α·cosine + (1−α)/(1+geodesic distance to the first of them).

    Gong, "Reranker Optimization via Geodesic Distances on k-NN Manifolds", 2026; its defaults.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    similar = rows @ rows.T
    np.fill_diagonal(similar, -1)
    near = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    own = np.repeat(np.arange(len(rows)), k)
    length = np.maximum(1 - similar[own, near.ravel()], 1e-6)
    graph = csr_array((length, (own, near.ravel())), shape=similar.shape)
    cosines = queries @ rows.T
    first = np.argsort(-cosines, axis=1, kind="stable")[:, :DEPTH]
    far = dijkstra(graph, directed=False, indices=first[:, 0])
    out = np.empty_like(first)
    for q, places in enumerate(first):
        score = alpha * cosines[q, places] + (1 - alpha) / (1 + far[q, places])
        out[q] = places[np.argsort(-score, kind="stable")]
    return out


def ours(texts: list[str], rows: np.ndarray, questions: list[str], queries: np.ndarray) -> dict:
    """Rankings without labels, by name."""
    from energy_plugin import EnergyConfig, EnergyIndex
    from energy_plugin.evaluation import peers
    from energy_plugin.evaluation.vectors import CollectionVectors
    from energy_plugin.lexical import LexicalIndex

    vectors = CollectionVectors(rows, queries)
    words = LexicalIndex.fit(texts)
    matches = words.scores(questions)
    cosines, dense = queries @ rows.T, np.asarray(matches.toarray(), dtype=np.float32)
    index = EnergyIndex.fit(rows)
    share = index.lexical_share(words)
    weighted = EnergyIndex.fit(rows, EnergyConfig.preset("arrowspace"))
    return {
        "cosine": peers.best(cosines, DEPTH),
        "centred cosine": peers.best(peers.centred(vectors), DEPTH),
        "Rocchio, 5 rows, .4": peers.best(peers.rocchio(vectors, 5, 0.4), DEPTH),
        "Maniscope": maniscope(rows, queries),
        "CSLS": peers.best(peers.csls(vectors), DEPTH),
        "BM25": peers.best(dense, DEPTH),
        "reciprocal rank fusion": peers.best(peers.fused(cosines, dense), DEPTH),
        "energy": index.search(queries, k=DEPTH).ids,
        "energy, weights of arrowspace": weighted.search(queries, k=DEPTH).ids,
        "hybrid energy": index.search(queries, k=DEPTH, lexical=matches, lexical_weight=share).ids,
    }


def our_grid(rows: np.ndarray, queries: np.ndarray) -> dict[tuple[float, int], tuple]:
    """Ranking and λ of each cell: η and steps of the heat flow over the anchors."""
    from energy_plugin import EnergyConfig, EnergyIndex

    found = {}
    for eta in ETAS:
        for steps in STEPS:
            config = EnergyConfig(anchor_heat=min(eta, 0.99), anchor_heat_steps=steps)
            index = EnergyIndex.fit(rows, config)
            found[eta, steps] = index.search(queries, k=DEPTH).ids, index.columns.lambda_
    return found


# Run by the other interpreter; parameters are those of the published script.
REFERENCE = """
import importlib.metadata, json, sys, time
import numpy as np
from arrowspace import ArrowSpaceBuilder
data = np.load(sys.argv[1])
rows, queries = data["rows"].astype(np.float64) * 12, data["queries"].astype(np.float64) * 12
etas, steps, depth = json.loads(sys.argv[2])
graph = {"eps": 0.8, "k": 25, "topk": depth, "p": 2.0, "sigma": 0.2}
energy = {"optical_tokens": None, "trim_quantile": 0.1, "split_quantile": 0.9, "neighbor_k": 12,
          "split_tau": 0.15, "w_lambda": 1.0, "w_disp": 0.5, "w_dirichlet": 0.25,
          "candidate_m": depth}
def found(search):
    out = []
    for query in queries:
        try:
            out.append([int(row) for row, _ in search(query)][:depth])
        except Exception as error:
            print(error, file=sys.stderr)
            out.append([])
    return out
said = {"version": importlib.metadata.version("arrowspace"), "grid": [], "taus": {}}
for eta in etas:
    for count in steps:
        start = time.perf_counter()
        space, laplacian = ArrowSpaceBuilder().build_energy(
            rows, {**energy, "eta": eta, "steps": count}, graph)
        said["grid"].append({"eta": eta, "steps": count, "seconds": time.perf_counter() - start,
            "ids": found(lambda query: space.search_energy(query, laplacian, depth)),
            "lambdas": [float(value) for value in space.lambdas()]})
        print(eta, count, file=sys.stderr, flush=True)
space, laplacian = ArrowSpaceBuilder().build(graph, rows)
for tau in (1.0, 0.72, 0.42):
    said["taus"][str(tau)] = found(lambda query: space.search(query, laplacian, tau, depth))
print(json.dumps(said))
"""


def reference(python: Path, rows: np.ndarray, queries: np.ndarray) -> dict:
    """What arrowspace gives over the same vectors."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "vectors.npz")
        np.savez(file, rows=rows, queries=queries)
        grid = json.dumps([ETAS, STEPS, DEPTH])
        done = subprocess.run(
            [str(python), "-c", REFERENCE, str(file), grid],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(
            f"{python} could not run arrowspace. Install it there: pip install arrowspace"
        )
    return json.loads(done.stdout.splitlines()[-1])


def spectrum_cost(lambdas: np.ndarray, bins: int = 10) -> float:
    """The reference's criterion without labels: low where λ is spread evenly and all different.

    Collapse of the histogram, uneven spacing (half), distance of the median from .25 (a tenth) and
    equal values (a tenth), as in its tuner; the weak repulsion of neighbouring values is left out.
    """
    values = np.sort(np.asarray(lambdas, dtype=np.float64))
    values = values[values >= 1e-9]
    if len(values) < 2 or values[-1] <= values[0]:
        return np.inf
    share = np.histogram(values, bins)[0] / len(values)
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(bins)
    gaps = np.diff(values)
    same = float((gaps <= 1e-6 * max(1.0, float(np.median(values)))).mean())
    spacing = 1 - gaps.var() / (values.var() + 1e-9)
    return float(1 - entropy + 0.5 * spacing + 0.1 * abs(np.median(values) - 0.25) + 0.1 * same)


def own_cost(ranked_by: dict, rows: np.ndarray, seed: int) -> tuple[float, int]:
    """Our criterion without labels: the cell that answers the collection's own questions best."""
    from energy_plugin import EnergyConfig, EnergyIndex
    from energy_plugin.evaluation.tune import ndcg, own_questions

    asked, wanted = own_questions(rows, np.random.default_rng(seed))

    def quality(cell: tuple[float, int]) -> float:
        config = EnergyConfig(anchor_heat=min(cell[0], 0.99), anchor_heat_steps=cell[1])
        return float(ndcg(EnergyIndex.fit(rows, config).search(asked, k=10).ids, wanted).mean())

    return max(ranked_by, key=quality)


def heatmaps(grids: dict[str, dict[tuple[float, int], dict[str, float]]], path: Path) -> None:
    """One line of panels a ranking, one panel a measure; η across, steps down."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(next(iter(next(iter(grids.values())).values())))
    size = (3.2 * len(names), 3.0 * len(grids))
    figure, panels = plt.subplots(len(grids), len(names), figsize=size, squeeze=False)
    for line, (title, grid) in zip(panels, grids.items(), strict=True):
        for axes, name in zip(line, names, strict=True):
            values = np.array([[grid[eta, steps][name] for eta in ETAS] for steps in STEPS])
            axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
            for (i, j), value in np.ndenumerate(values):
                color = "black" if value > 0.6 else "white"
                axes.text(j, i, f"{value:.3f}", ha="center", va="center", color=color)
            axes.set(title=f"{title}: {name}", xlabel="η", ylabel="steps")
            axes.set_xticks(range(len(ETAS)), ETAS)
            axes.set_yticks(range(len(STEPS)), STEPS)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read, embed, rank, judge, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--arrowspace", type=Path, metavar="PYTHON")
    parser.add_argument("--count", type=int, default=1681, help="texts to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hide-names", action="store_true")
    parser.add_argument("--embedder", default="compact")
    parser.add_argument("--out", type=Path, help="folder for heatmaps.png and results.json")
    run(parser.parse_args())


def run(given: argparse.Namespace) -> None:
    """One run of the experiment."""
    every = read(given.path)
    rng = np.random.default_rng(given.seed)
    chosen = rng.choice(len(every), size=min(given.count, len(every)), replace=False)
    texts = [hidden(every[i][0]) if given.hide_names else every[i][0] for i in chosen]
    judged = {c: {row for row, i in enumerate(chosen) if c in every[i][1]} for c in CLASSES}
    asked = [c for c in CLASSES if judged[c]]
    questions = [CLASSES[c][0] for c in asked]
    print(f"{len(texts)} texts; " + ", ".join(f"CWE-{c} {len(judged[c])}" for c in asked))

    from energy_plugin.evaluation.vectors import normalise
    from energy_plugin.library.embedders import load_embedder

    embedder = load_embedder(given.embedder)
    rows = normalise(embedder.encode_document(texts))
    queries = normalise(np.stack([embedder.encode_query(question) for question in questions]))
    groups = {
        "the three published questions": [q for q, c in enumerate(asked) if c in ("22", "94", "89")]
    }
    groups[f"all {len(asked)} questions"] = list(range(len(asked)))

    def judge(ranking: np.ndarray, which: list[int]) -> dict[str, float]:
        return scores(np.asarray(ranking)[which], [judged[asked[q]] for q in which])

    rankings, grids, picked = _ranked(given, texts, rows, questions, queries)
    out: dict = {"texts": len(texts), "answers": {c: len(judged[c]) for c in asked}}
    for title, which in groups.items():
        table = {name: judge(ids, which) for name, ids in rankings.items()}
        marked = {
            name: {cell: judge(ids, which) for cell, ids in g.items()} for name, g in grids.items()
        }
        for name, grid in marked.items():
            best = max(grid, key=lambda cell: grid[cell]["nDCG@10"])
            table[f"{name}, mean of the grid"] = {
                m: float(np.mean([cell[m] for cell in grid.values()])) for m in grid[best]
            }
            table[f"{name}, best cell by the answers, η {best[0]} steps {best[1]}"] = grid[best]
        for how, (name, cell) in picked.items():
            table[f"{how}: η {cell[0]} steps {cell[1]}"] = marked[name][cell]
        _print(title, table)
        out[title] = {"rankings": table, "grids": {n: _plain(g) for n, g in marked.items()}}
        if given.out is not None and which == groups["the three published questions"]:
            given.out.mkdir(parents=True, exist_ok=True)
            heatmaps(marked, given.out / "heatmaps.png")
    if given.out is not None:
        (given.out / "results.json").write_text(json.dumps(out, indent=1), encoding="utf-8")


def _ranked(
    given: argparse.Namespace,
    texts: list[str],
    rows: np.ndarray,
    questions: list[str],
    queries: np.ndarray,
) -> tuple[dict, dict, dict]:
    """Rankings by name, grids of rankings, and the cells that are chosen without labels."""
    rankings = ours(texts, rows, questions, queries)
    mine = our_grid(rows, queries)
    grids = {"energy": {cell: ids for cell, (ids, _) in mine.items()}}
    lambdas = {"energy": {cell: values for cell, (_, values) in mine.items()}}
    picked = {"energy, by its own questions": ("energy", own_cost(mine, rows, given.seed))}
    if given.arrowspace is not None:
        said = reference(given.arrowspace, rows, queries)
        name = f"arrowspace {said['version']}"
        for tau, ids in said["taus"].items():
            rankings[f"{name} search, τ {tau}"] = _square(ids)
        cells = {(each["eta"], each["steps"]): each for each in said["grid"]}
        grids[name] = {cell: _square(each["ids"]) for cell, each in cells.items()}
        lambdas[name] = {cell: np.array(each["lambdas"]) for cell, each in cells.items()}
        print(f"{name}: build_energy took {np.mean([e['seconds'] for e in cells.values()]):.1f} s")
    for name, of in lambdas.items():
        picked[f"{name}, by the spectrum"] = (
            name,
            min(of, key=lambda cell: spectrum_cost(of[cell])),
        )
    return rankings, grids, picked


def _square(lists: list[list[int]]) -> np.ndarray:
    """Rankings of several lengths as one array; -1 is no row."""
    out = np.full((len(lists), DEPTH), -1)
    for line, ids in zip(out, lists, strict=True):
        line[: len(ids)] = ids
    return out


def _plain(grid: dict[tuple[float, int], dict[str, float]]) -> list[dict[str, float]]:
    return [{"eta": eta, "steps": steps, **values} for (eta, steps), values in grid.items()]


def _print(title: str, table: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(table.values())))
    print(f"\n{title}\n\n| ranking | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for ranking, values in table.items():
        print(f"| {ranking} | {' | '.join(f'{values[n]:.3f}' for n in names)} |")


if __name__ == "__main__":
    main()
