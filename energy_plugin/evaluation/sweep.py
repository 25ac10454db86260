"""A grid of settings on judged collections, cell by cell, kept in a CSV file.

There are three grids, after the reference's diffusion sweep: ``diffusion`` (η × steps of
the heat flow over the anchors), ``heat`` (η of the rows × η of the query's graph) and
``weights`` (w_λ × w_G × w_D). Any other settings can be named instead.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.evaluation.collection import JudgedCollection
from energy_plugin.evaluation.measures import MEASURES, measure
from energy_plugin.evaluation.ranking import fit_index, rank_by_cosine, rank_by_energy
from energy_plugin.evaluation.vectors import CollectionVectors

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig

GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "diffusion": {
        "anchor_heat": (0.0, 0.1, 0.2, 0.4, 0.8),
        "anchor_heat_steps": (0, 1, 2, 4, 8),
    },
    "heat": {
        "heat": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5),
        "local_heat": (0.0, 0.2, 0.4, 0.6, 0.8),
    },
    "weights": {
        "weight_lambda": (0.0, 0.0005, 0.01, 0.1, 1.0),
        "weight_dispersion": (0.0, 0.01, 0.1, 0.5),
        "weight_dirichlet": (1.0, 0.25),
    },
}
FORMAT_VERSION = 1  # of sweep.json
BASELINE = "cosine"
SHOWN = ("ndcg@10", "map", "recall@100")
DEPTH = 1000


@dataclass(frozen=True)
class Sweep:
    """A grid over one to three settings.

    Attributes
    ----------
    axes : mapping of str to sequence of float
        Setting of `EnergyConfig` to its values.
    folder : Path
        Where ``cells.csv``, ``sweep.json`` and the pictures are kept; may hold an interrupted
        sweep of the same grid on the same vectors.
    """

    axes: Mapping[str, Sequence[float]]
    folder: Path

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 3 or not all(len(values) for values in self.axes.values()):
            raise InvalidInputError(
                f"A sweep takes one to three settings with values, got {dict(self.axes)!r}."
            )

    def configs(self, base: EnergyConfig) -> Iterator[tuple[dict[str, float], EnergyConfig]]:
        """Every cell of the grid with its configuration.

        Raises
        ------
        InvalidInputError
            A name is not a setting, or a value is out of its range.
        """
        base.refuse_unknown(self.axes)
        for values in product(*self.axes.values()):
            cell: dict[str, Any] = dict(zip(self.axes, values, strict=True))
            yield cell, replace(base, **cell)

    def run(
        self,
        collection: JudgedCollection,
        vectors: CollectionVectors,
        base: EnergyConfig,
        *,
        progress: Callable[[int], None] = lambda cells: None,
    ) -> None:
        """Measure every cell that is not in the file yet; cosine is a row of its own.

        Raises
        ------
        InvalidInputError
            The folder holds another sweep.
        """
        cells = list(self.configs(base))
        self._own(collection, vectors, base)
        self._mend()
        done = {_key(row, self.axes) for row in self.rows() if row["set"] == collection.name}
        if BASELINE not in done:
            ranked = rank_by_cosine(vectors.corpus, vectors.queries, DEPTH)
            self._append(collection.name, None, measure(collection, ranked).mean)
        for cell, config in cells:
            if _key(cell, self.axes) not in done:
                index = fit_index(vectors.corpus, config)
                ranked = rank_by_energy(index, vectors.queries, DEPTH)
                self._append(collection.name, cell, measure(collection, ranked).mean)
            progress(1)

    def rows(self) -> list[dict[str, str]]:
        """Rows of the file, a whole line each."""
        path = self.folder / "cells.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file) if row[MEASURES[-1]]]

    def means(self) -> tuple[dict[str, float], dict[tuple[float, ...], dict[str, float]]]:
        """Cosine, and every cell that all sets have: measure to its mean over the sets."""
        rows = self.rows()
        sets = {row["set"] for row in rows}
        cells: dict[Any, list[dict[str, str]]] = {}
        for row in rows:
            cells.setdefault(_key(row, self.axes), []).append(row)
        means = {
            key: {name: float(np.mean([float(row[name]) for row in found])) for name in MEASURES}
            for key, found in cells.items()
            if len(found) == len(sets)
        }
        return means.pop(BASELINE, {}), means

    def draw(self) -> list[Path]:
        """Heatmaps of the change against cosine, a PNG for each value of a third axis.

        Raises
        ------
        OptionalDependencyError
            Without matplotlib.
        """
        cosine, means = self.means()
        names = list(self.axes)
        others = self.axes[names[2]] if len(names) == 3 else (None,)
        pictures = []
        for other in others:
            suffix = "" if other is None else f"-{names[2]}-{other:g}"
            title = "" if other is None else f", {names[2]} {other:g}"
            path = self.folder / f"sweep{suffix}.png"
            self._draw_plane(path, cosine, means, other, title)
            pictures.append(path)
        return pictures

    def _draw_plane(
        self,
        path: Path,
        cosine: Mapping[str, float],
        means: Mapping[tuple[float, ...], Mapping[str, float]],
        other: float | None,
        title: str,
    ) -> None:
        names = list(self.axes)
        across = self.axes[names[0]]
        down = self.axes[names[1]] if len(names) > 1 else (0.0,)
        figure_module = optional("matplotlib.figure", "eval")
        figure = figure_module.Figure(
            figsize=(3 + 0.9 * len(across) * len(SHOWN), 2.2 + 0.45 * len(down)),
            dpi=110,
            layout="constrained",
        )
        for axes, name in zip(np.ravel(figure.subplots(1, len(SHOWN))), SHOWN, strict=True):
            plane = np.full((len(down), len(across)), np.nan)
            for i, y in enumerate(down):
                for j, x in enumerate(across):
                    key = (x, y)[: len(names)] if other is None else (x, y, other)
                    if key in means:
                        plane[i, j] = 100 * (means[key][name] / max(cosine[name], 1e-12) - 1)
            bound = float(np.nanmax(np.abs(plane))) if np.isfinite(plane).any() else 1.0
            axes.imshow(plane, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto")
            for i, j in np.argwhere(np.isfinite(plane)):
                colour = "white" if abs(plane[i, j]) > 0.65 * bound else "black"
                axes.text(j, i, f"{plane[i, j]:+.1f}", ha="center", va="center", color=colour)
            axes.set_xticks(range(len(across)), [f"{x:g}" for x in across])
            axes.set_yticks(range(len(down)), [f"{y:g}" for y in down])
            axes.set(title=f"{name}, % against cosine{title}", xlabel=names[0])
            if len(names) > 1:
                axes.set_ylabel(names[1])
        figure.savefig(path)

    def _append(
        self, name: str, cell: Mapping[str, float] | None, means: Mapping[str, float]
    ) -> None:
        path = self.folder / "cells.csv"
        columns = ["set", "ranking", *self.axes, *MEASURES]
        values: dict[str, Any] = {"set": name, "ranking": "energy" if cell else BASELINE, **means}
        fresh = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if fresh:
                writer.writeheader()
            writer.writerow({**values, **(cell or {})})

    def _mend(self) -> None:
        """Drop a last line that an interrupted sweep left unfinished."""
        path = self.folder / "cells.csv"
        if path.exists():
            whole = path.read_bytes()
            kept = whole[: whole.rfind(b"\n") + 1]
            if kept != whole:
                path.write_bytes(kept)

    def _own(
        self, collection: JudgedCollection, vectors: CollectionVectors, base: EnergyConfig
    ) -> None:
        """Note what is swept, or refuse a folder that holds something else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "sweep.json"
        axes = {name: list(map(float, values)) for name, values in self.axes.items()}
        held = _held(path) if path.exists() else {}
        wanted = {
            "format_version": FORMAT_VERSION,
            "axes": axes,
            "config": base.to_dict(),
            "sets": held.get("sets", {}),
        }
        digest = hashlib.blake2b(vectors.corpus.tobytes() + vectors.queries.tobytes())
        mark = digest.hexdigest()[:16]
        if held and (
            {**held, "sets": {}} != {**wanted, "sets": {}}
            or wanted["sets"].get(collection.name, mark) != mark
        ):
            raise InvalidInputError(
                f"{self.folder} has a sweep of another grid, configuration or set of vectors. "
                "Name another folder, or empty this one."
            )
        wanted["sets"][collection.name] = mark
        part = path.with_suffix(".part")
        part.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        os.replace(part, path)


def _held(path: Path) -> dict[str, Any]:
    """What an earlier sweep noted.

    Raises
    ------
    InvalidInputError
        The file is damaged.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict) or not isinstance(held.get("sets"), dict):
            raise ValueError("expected an object with sets")
        if held.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"format version {held.get('format_version')}, this release reads {FORMAT_VERSION}"
            )
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} is damaged ({error}). Name another folder, or empty this one."
        ) from error
    return held


def _key(row: Mapping[str, Any], axes: Mapping[str, Any]) -> Any:
    if row.get("ranking") == BASELINE:
        return BASELINE
    return tuple(float(row[name]) for name in axes)
