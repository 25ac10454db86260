"""The figures of the concepts page. Run with ``python docs/figures.py [folder]``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from energy_plugin import EnergyIndex

TOPICS, ROWS, DIM, NOISE = 9, 450, 24, 0.85


def collection(seed: int = 3) -> tuple[Any, Any, Any, Any]:
    """Rows and questions around nine overlapping topics: vectors and topics of both."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(TOPICS, DIM)) + 0.6  # a common direction, as real embeddings have
    topics, asked = rng.integers(TOPICS, size=ROWS), rng.integers(TOPICS, size=200)
    rows = centres[topics] + NOISE * rng.normal(size=(ROWS, DIM))
    questions = centres[asked] + 1.6 * NOISE * rng.normal(size=(200, DIM))
    return rows, topics, questions, asked


def main() -> None:
    """Draw both figures."""
    folder = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent / "images")
    folder.mkdir(parents=True, exist_ok=True)
    rows, topics, questions, asked = collection()
    index = EnergyIndex.fit(rows)
    projection = index.field.projection("cpu")
    before = projection.project(rows.astype(np.float32))[0].numpy()
    columns = index.columns
    after = projection.decode(columns.cell, columns.residual).numpy()
    middle = before.mean(0)
    axes2d = np.linalg.svd(before - middle, full_matrices=False)[2][:2].T
    flat, warm = (before - middle) @ axes2d, (after - middle) @ axes2d
    anchors = (index.field.anchors.astype(np.float32) - middle) @ axes2d

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = left.scatter(*flat.T, c=columns.lambda_, s=10, cmap="viridis")
    left.scatter(*anchors.T, marker="x", c="tab:red", s=28, linewidths=1, label="anchors")
    left.set_title("rows by λ, and the anchors of their cells")
    left.legend(loc="upper right", fontsize=8)
    figure.colorbar(shown, ax=left, shrink=0.8, label="λ")
    right.quiver(
        *flat.T, *(warm - flat).T, angles="xy", scale_units="xy", scale=1, width=0.003, color="0.4"
    )
    right.scatter(*warm.T, c=topics, s=8, cmap="tab10")
    right.set_title("what heat did to each row; rows by topic")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(folder / "field.png", dpi=110)

    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    orders = {
        "cosine": np.argsort(-(questions @ unit.T), kind="stable")[:, :10],
        "energy": index.search(questions, k=10).ids,
    }
    right_of = {name: (topics[found] == asked[:, None]).sum(1) for name, found in orders.items()}
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    bins = np.arange(12) - 0.5
    for name, colour in (("cosine", "0.55"), ("energy", "tab:orange")):
        label = f"{name}, mean {right_of[name].mean():.2f}"
        axes.hist(
            right_of[name], bins=bins, histtype="step", color=colour, linewidth=2, label=label
        )
    axes.set_xlabel("rows of the question's topic among the first ten")
    axes.set_ylabel("of 200 questions")
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(folder / "topics.png", dpi=110)
    print({name: round(float(counts.mean()), 2) for name, counts in right_of.items()})


if __name__ == "__main__":
    main()
