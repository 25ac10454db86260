"""The collection beside a user's collection that holds its energy columns."""

from __future__ import annotations

import re
from typing import Any

from chromadb.api.models.Collection import Collection
from chromadb.errors import NotFoundError

from energy_plugin.stored.moments import Moment, reached

# Chroma keeps every write in its log until that many rows of the collection have changed, and reads
# the whole log again in each write: a companion has few rows, and large ones.
SYNC: Any = {"sync_threshold": 4, "batch_size": 2}
# Collection metadata that tells everybody what a companion is.
ABOUT = "energy_about"
_NAME = re.compile(r"energy-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_companion(name: str) -> bool:
    """Whether a collection of that name holds energy columns of another one."""
    return _NAME.fullmatch(name) is not None


class Companion:
    """Where the energy columns of one collection stand.

    Parameters
    ----------
    of : chromadb.Collection
        The user's.
    """

    def __init__(self, of: Collection) -> None:
        self._of = of
        self._place: dict[str, Any] = {"tenant": of.tenant, "database": of.database}

    @property
    def name(self) -> str:
        """Named by the uuid, so that it survives a rename of the user's collection."""
        return f"energy-{self._of.id}"

    @property
    def about(self) -> dict[str, Any]:
        """What stands in its metadata, whoever lists the collections."""
        return {
            ABOUT: f"Energy columns of collection {self._of.id}, written by energy-plugin. "
            "It has no documents. EnergyCollection(...).drop() on that collection removes it."
        }

    @property
    def of_a_companion(self) -> bool:
        """Whether the user's collection is itself a companion of another one."""
        return ABOUT in (self._of.metadata or {}) or is_companion(str(self._of.name))

    def open(self, *, create: bool = False) -> Collection | None:
        """Read again at every call; None where there is none and none is to be made."""
        server = self._of._client
        try:
            model = server.get_collection(name=self.name, **self._place)
        except NotFoundError:
            if not create:
                return None
            # the HNSW index of a 1-dimensional dummy vector costs nothing
            index: Any = {"space": "l2", **SYNC}
            reached(Moment.WRITING)
            model = server.create_collection(
                name=self.name,
                configuration={"hnsw": index, "embedding_function": None},
                metadata=self.about,
                get_or_create=True,
                **self._place,
            )
        companion = Collection(client=server, model=model, embedding_function=None)
        if create:
            stored = companion.configuration_json.get("hnsw") or SYNC
            if stored["sync_threshold"] != SYNC["sync_threshold"]:
                reached(Moment.WRITING)
                companion.modify(configuration={"hnsw": SYNC})
        return companion

    def delete(self) -> None:
        """Delete the energy columns; the user's rows are not touched."""
        reached(Moment.WRITING)
        self._of._client.delete_collection(name=self.name, **self._place)
