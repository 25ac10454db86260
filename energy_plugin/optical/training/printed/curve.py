"""The learning curve of a recogniser, as a picture."""

from __future__ import annotations

from pathlib import Path

from energy_plugin._lazy import optional
from energy_plugin.optical.training.curve import read_log


def draw_curve(log: Path, picture: Path) -> None:
    """Draw the loss, and what is read of held-out families, over the minutes.

    Parameters
    ----------
    log : Path
        ``log.jsonl`` of a work folder.
    picture : Path
        PNG file to write.

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
    losses.plot(minutes, [record["loss"] for record in records], label="loss a character")
    losses.set(xlabel="minutes", ylabel="loss", yscale="log", title="training lines")
    for name in ("characters", "words"):
        scores.plot(minutes, [record[name] for record in records], label=name)
    scores.set(xlabel="minutes", ylim=(0, 1), title="read right, families held out")
    scores.legend(frameon=False, loc="lower right")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
