"""The learning curve of a run, as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from energy_plugin._lazy import optional


def read_log(path: Path) -> list[dict[str, float]]:
    """Records of the second stage, one a shard."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def draw_curve(log: Path, picture: Path) -> None:
    """Draw losses and validation over the minutes of training.

    Parameters
    ----------
    log : Path
        ``log.jsonl`` of a work folder.
    picture : Path
        PNG file to write.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    figure_module = optional("matplotlib.figure", "train")
    records = read_log(log)
    minutes = [record["minutes"] for record in records]
    figure = figure_module.Figure(figsize=(9, 4), dpi=120, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for name in ("token", "angle", "similarity"):
        losses.plot(minutes, [record[name] for record in records], label=name)
    losses.set(xlabel="minutes", ylabel="loss", yscale="log", title="training shards")
    losses.legend(frameon=False)
    scores.plot(minutes, [record["cosine"] for record in records], label="cosine to the teacher")
    scores.plot(
        minutes, [record["found_first"] for record in records], label="own text found first"
    )
    scores.set(xlabel="minutes", ylim=(0, 1), title="held-out texts")
    scores.legend(frameon=False, loc="lower right")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
