"""Rows to vectors; a row that cannot be embedded does not keep the others from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.pages import picture
from energy_plugin.library.planning import Task

if TYPE_CHECKING:
    from energy_plugin.library.embedders import Embedder


@dataclass(frozen=True)
class Embedded:
    """A task with its vector, or with the reason why there is none.

    The row of a page that is a picture has the text that was read on it.
    """

    task: Task
    vector: NDArray[np.float32] | None
    reason: str = ""


class Embedding:
    """Embeds rows, texts together and pictures page by page.

    Parameters
    ----------
    embedder : Embedder
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._bytes: tuple[str, bytes] = ("", b"")  # of the file whose pages are drawn

    def embed(self, tasks: Sequence[Task]) -> list[Embedded]:
        """Embed rows; they come back in another order: texts first."""
        if not tasks:
            return []
        try:
            return self._vectors(tasks)
        except (InvalidInputError, OSError):
            return [self._alone(task) for task in tasks]

    def _alone(self, task: Task) -> Embedded:
        try:
            return self._vectors([task])[0]
        except (InvalidInputError, OSError) as error:
            return Embedded(task, None, f"{task.path}: {error}")

    def _vectors(self, tasks: Sequence[Task]) -> list[Embedded]:
        done: list[Embedded] = []
        texts = [task for task in tasks if not task.row.picture]
        if texts:
            vectors = self.embedder.encode_document([task.row.text for task in texts])
            done += map(Embedded, texts, np.asarray(vectors, dtype=np.float32))
        for task in tasks:
            if task.row.picture:
                text, vector = self.embedder.encode_page(self._picture(task))
                done.append(Embedded(replace(task, row=replace(task.row, text=text)), vector))
        return done

    def _picture(self, task: Task) -> Any:
        if self._bytes[0] != task.path:
            self._bytes = (task.path, Path(task.path).read_bytes())
        return picture(Path(task.path), self._bytes[1], task.row.page or 1)
