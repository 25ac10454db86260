"""The pictures of the page, as PNG bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.library.reports.contents import Contents

_BLUE = "#3b6ea5"


def pictures(contents: Contents) -> dict[str, bytes]:
    """PNG by caption."""
    return {
        "Anchors on their first two principal axes, coloured by the median λ of their cell; "
        "grey: no rows": _anchors(contents),
        "Taumode λ of the rows": _histogram(contents.lambda_, "λ"),
        "Dispersion G of the rows": _histogram(contents.dispersion, "G"),
        "Rows of each cell": _histogram(contents.sizes, "rows of a cell", of="cells"),
        "Residual: squared distance of a row to its anchor, which its code keeps": _histogram(
            contents.residual, "squared distance"
        ),
    }


def _axes() -> tuple[Any, Any]:
    figure = optional("matplotlib.figure", "eval").Figure(figsize=(4.3, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160)
    return out.getvalue()


def _anchors(contents: Contents) -> bytes:
    figure, axes = _axes()
    known = np.isfinite(contents.anchor_lambda)
    area = 14 + 120 * contents.sizes / max(1, contents.sizes.max())
    axes.scatter(*contents.anchors[~known].T, s=14, c="#bbbbbb")
    dots = axes.scatter(
        *contents.anchors[known].T, s=area[known], c=contents.anchor_lambda[known], cmap="viridis"
    )
    if known.any():
        figure.colorbar(dots, ax=axes, label="median λ")
    axes.set_xlabel("first axis; area: rows of the cell")
    axes.set_ylabel("second axis")
    return _png(figure)


def _histogram(values: NDArray[Any], label: str, *, of: str = "rows") -> bytes:
    figure, axes = _axes()
    axes.hist(values, bins=40, color=_BLUE)
    axes.set_xlabel(label)
    axes.set_ylabel(of)
    return _png(figure)
