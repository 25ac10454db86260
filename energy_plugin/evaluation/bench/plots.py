"""Plots of a run: recall against bytes, and search time against rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from energy_plugin._lazy import optional


def recall_by_bytes(run: dict[str, Any], path: Path) -> None:
    """One panel a collection; the residual codes as a line, the rivals as points."""
    plt = _pyplot()
    parts = run["codes"]
    figure, panels = plt.subplots(1, len(parts), figsize=(4.2 * len(parts), 4), squeeze=False)
    for axes, part in zip(panels[0], parts, strict=True):
        groups: dict[str, list[tuple[int, float]]] = {}
        for codec in part["codecs"]:
            group = codec["name"].rsplit(" ", 2 if codec["name"].endswith("bit") else 1)[0]
            groups.setdefault(group, []).append((codec["bytes"], codec["recall@10"]))
        for name, points in groups.items():
            style = "-o" if name == "energy" else "x"
            axes.plot(*zip(*sorted(points), strict=True), style, label=name)
        axes.set(
            title=f"{part['vectors']}, {part['rows']:,} rows",
            xlabel="bytes a vector",
            ylabel="recall@10",
            xscale="log",
        )
        axes.grid(alpha=0.3)
    panels[0][0].legend(fontsize="small")
    _save(figure, path)


def time_by_rows(run: dict[str, Any], path: Path) -> None:
    """Median time of one query against rows, both axes logarithmic."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(5, 4))
    names = {name for part in run["speed"] for name in part["singles"]}
    for name in sorted(names):
        points = sorted(
            (part["rows"], part["singles"][name]["p50_ms"])
            for part in run["speed"]
            if name in part["singles"]
        )
        axes.plot(*zip(*points, strict=True), "-o", label=name)
    axes.set(xlabel="rows", ylabel="ms a query (median)", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, path)


def _pyplot() -> Any:
    optional("matplotlib", "bench").use("Agg")
    return optional("matplotlib.pyplot", "bench")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    _pyplot().close(figure)
