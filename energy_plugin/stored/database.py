"""What a database must do for a field to live in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Database(Protocol):
    """Rows of one table or collection, known by hashable ids."""

    @property
    def name(self) -> str:
        """Of the table or collection, for messages."""

    def ids(self, *, ids: Sequence[Any] | None = None) -> list[Any]:
        """Ids of all rows that have a vector, or of those among `ids`."""

    def vectors(self, ids: Sequence[Any]) -> tuple[list[Any], NDArray[np.float32]]:
        """Those of the ids that are there, in their order, and their vectors, (m, d)."""

    def pages(self) -> Iterator[tuple[list[Any], NDArray[np.float32]]]:
        """All rows, a page of ids and (m, d) vectors at a time."""
