"""One training, in this process or shared by several."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.optical.training.printed.schedule import PrintConfig


def train(
    corpus: Path,
    fonts: Sequence[Path],
    work: Path,
    config: PrintConfig,
    *,
    processes: int = 1,
    trainers: int = 1,
    device: str | None = None,
) -> Path:
    """Train until the budget of the schedule is used up.

    Parameters
    ----------
    corpus, fonts, work, config, processes, device
        Of `PrintTraining`.
    trainers : int, default=1
        Processes that share each step. Two processes of one thread lose less on busy cores than
        one of two threads, whose threads wait for each other in every layer.

    Returns
    -------
    Path
        The weights.

    Raises
    ------
    InvalidInputError
        One of the trainers stopped early; its own error stands above.
    """
    from energy_plugin.optical.training.printed.run import PrintTraining

    if trainers == 1:
        training = PrintTraining(corpus, fonts, work, config, processes=processes, device=device)
        return training.run()
    work.mkdir(parents=True, exist_ok=True)
    (work / "meeting").unlink(missing_ok=True)
    context = get_context("spawn")
    shared = {"corpus": corpus, "fonts": list(fonts), "work": work, "config": config}
    shared |= {"processes": processes, "device": device, "trainers": trainers}
    running = [
        context.Process(target=_train, args=({**shared, "rank": rank},)) for rank in range(trainers)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    if any(process.exitcode for process in running):
        raise InvalidInputError(
            "a trainer stopped early; see its error above, and call again to resume"
        )
    from energy_plugin.optical.printed import files

    return work / files.NAME


def _train(arguments: dict[str, Any]) -> None:
    import torch

    from energy_plugin.optical.training.printed.run import PrintTraining

    torch.set_num_threads(1)
    PrintTraining(**arguments).run()
