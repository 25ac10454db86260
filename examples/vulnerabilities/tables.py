"""The printed table and the heatmaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rankings import ETAS, Cell

Scores = dict[str, np.ndarray]  # values of each query, by measure


def table(title: str, ranked: dict[str, Scores], base: str = "cosine") -> None:
    """Means of each ranking, and the difference to `base` with its standard error."""
    names = list(ranked[base])
    heads = [*names, f"nDCG@10 − {base}"]
    print(f"\n{title}\n\n| ranking | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for name, scores in ranked.items():
        means = " | ".join(_short(scores[each].mean()) for each in names)
        gain = scores["nDCG@10"] - ranked[base]["nDCG@10"]
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
        gained = f"{gain.mean():+.3f} ± {error:.3f}".replace("0.", ".").replace("-", "−")
        print(f"| {name} | {means} | {'' if name == base else gained} |")


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def heatmaps(grids: dict[str, dict[Cell, Scores]], path: Path) -> None:
    """A line of panels per ranking, a panel per measure; η across, steps down."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    counts = sorted({count for _, count in next(iter(grids.values()))})
    names = ["MRR", "MAP@20", "nDCG@10", "recall@20"]
    size = (2.3 * len(names) + 0.9, 2.5 * len(grids))
    figure, panels = plt.subplots(
        len(grids), len(names), figsize=size, squeeze=False, sharex=True, sharey=True,
        layout="constrained",
    )  # fmt: skip
    for line, (title, grid) in zip(panels, grids.items(), strict=True):
        line[0].set_ylabel(f"{title}\n\nsteps")
        for axes, name in zip(line, names, strict=True):
            values = np.array([[grid[eta, count][name].mean() for eta in ETAS] for count in counts])
            image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
            for (i, j), value in np.ndenumerate(values):
                color = "black" if value > 0.6 else "white"
                axes.text(j, i, _short(value), ha="center", va="center", color=color, size=9)
            axes.set_xticks(range(len(ETAS)), ETAS)
            axes.set_yticks(range(len(counts)), counts)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xlabel("η")
    figure.colorbar(image, ax=panels, shrink=0.8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
