"""The learning curve of a run, as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from energy_plugin._lazy import optional


@dataclass(frozen=True)
class Panels:
    """What a picture shows: losses on the left, shares of one on the right.

    Parameters
    ----------
    losses, scores : mapping of str to str
        From keys of a record to what the legend calls them.
    trained, validated : str
        Titles of the two.
    """

    losses: Mapping[str, str]
    trained: str
    scores: Mapping[str, str]
    validated: str


ENCODER = Panels(
    losses={"token": "token", "angle": "angle", "similarity": "similarity"},
    trained="training shards",
    scores={"cosine": "cosine to the teacher", "found_first": "own text found first"},
    validated="held-out texts",
)
PRINT = Panels(
    losses={"loss": "loss a character"},
    trained="training lines",
    scores={"characters": "characters", "words": "words"},
    validated="read right, families held out",
)


def read_log(path: Path) -> list[dict[str, float]]:
    """Records of a run, one a shard."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def draw_curve(log: Path, picture: Path, panels: Panels) -> None:
    """Draw losses and validation over the minutes of training.

    Parameters
    ----------
    log : Path
        ``log.jsonl`` of a work folder.
    picture : Path
        PNG file to write.
    panels : Panels
        `ENCODER` or `PRINT`.

    Raises
    ------
    OptionalDependencyError
        Without matplotlib.
    """
    figure_module = optional("matplotlib.figure", "train")
    records = read_log(log)
    minutes = [record["minutes"] for record in records]
    figure = figure_module.Figure(figsize=(9, 4), dpi=120, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for axes, lines in ((losses, panels.losses), (scores, panels.scores)):
        for key, label in lines.items():
            axes.plot(minutes, [record[key] for record in records], label=label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    losses.set(xlabel="minutes", ylabel="loss", yscale="log", title=panels.trained)
    scores.set(xlabel="minutes", ylim=(0, 1), title=panels.validated)
    losses.legend(frameon=False)
    scores.legend(frameon=False, loc="lower right")
    figure.savefig(picture)
