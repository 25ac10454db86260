"""A folder's files into a table or collection, and only what changed."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.embedding import Embedded, Embedding
from energy_plugin.library.files.folder import Cutting, Listing, source_of
from energy_plugin.library.planning import Reading, Stored, Task, read_file, stored_files
from energy_plugin.library.stopping import Stop
from energy_plugin.library.stores.address import shown
from energy_plugin.library.stores.store import Row, Store

if TYPE_CHECKING:
    from energy_plugin.library.embedders import Embedder
    from energy_plugin.library.on_ray import RayMap

CHUNK = 16  # passages embedded between two looks at the clock
SECONDS = 3.0  # between two commits
MOST = 1024  # passages of one commit
LOG_SECONDS = 10.0  # between two lines in a log
_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a run has done so far; numbers of files except for `passages` and `planned`."""

    files: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    empty: int = 0
    planned: int = 0  # passages that this run has to store
    passages: int = 0  # stored by this run
    skipped: dict[str, int] = field(default_factory=dict)  # by suffix
    outside: list[str] = field(default_factory=list)  # links that are not followed
    unreadable: list[dict[str, Any]] = field(default_factory=list)


class Ingest:
    """Makes a store mirror a folder.

    Parameters
    ----------
    folder : Path
    listing : Listing
        Its files.
    store : Store
    embedder : Embedder
    cutting : Cutting
    progress : Progress
        Kept up to date, also when the run is interrupted.
    stop : Stop
        Asked between two batches; what is embedded is stored before the run ends.
    ray_map : RayMap, optional
        Reads and embeds on a cluster; this process writes.
    """

    def __init__(  # noqa: PLR0917 - each is one thing
        self,
        folder: Path,
        listing: Listing,
        store: Store,
        embedder: Embedder,
        cutting: Cutting,
        progress: Progress,
        stop: Stop,
        ray_map: RayMap | None = None,
    ) -> None:
        self.folder = folder
        self.listing = listing
        self.store = store
        self.embedder = embedder
        self.cutting = cutting
        self.progress = progress
        self.stop = stop
        self.ray_map = ray_map
        self._ready: list[tuple[Row, NDArray[np.float32]]] = []
        self._outdated: set[str] = set()  # files whose old rows go with the next commit
        self._ended: dict[str, str] = {}  # "added" or "changed", by file that ends in the commit
        self._left: dict[str, int] = {}  # rows to come, by file that is under way
        self._stored: set[str] = set()  # files with a row of this run
        self._digests: dict[str, str] = {}
        self._committed = time.monotonic()
        self._logged = time.monotonic()
        self._bar: Any = None

    def run(self, *, show_progress_bar: bool) -> dict[str, str]:
        """Store what is new, replace what changed, remove what is gone.

        Returns
        -------
        dict of str to str
            Hash of each file that was read, by name.

        Raises
        ------
        InvalidInputError
            The store holds another folder or vectors of another embedder.
        KeyboardInterrupt
            A stop was asked for; what was embedded is stored.
        """
        files = {source_of(self.folder, path): path for path in self.listing.files}
        self.progress.files = len(self.listing.files)
        stored = stored_files(self.store.sources())
        if stored:
            self._check(files.keys(), stored)
        hidden = self.listing.hides
        gone = {name for name in stored.keys() - files.keys() if not hidden(name)}
        self.store.remove(sorted(gone))
        for name, reason in self.listing.closed.items():
            self._list(name, None, reason)
        self.progress.removed = len(gone)
        batches = self._here if self.ray_map is None else self._on_ray
        for done in batches(files, stored, show_progress_bar=show_progress_bar):
            self._take(done)
        self._commit()
        return self._digests

    def _check(self, names: AbstractSet[str], stored: dict[str, Stored]) -> None:
        if not names & stored.keys():
            raise InvalidInputError(
                f"{self.store.name!r} in {shown(self.store.path)} holds {len(stored)} files of "
                f"another folder, such as {min(stored)!r}, none of which is in {self.folder}. "
                "Give another --name."
            )
        if not self.store.embedded_by(self.embedder):
            raise InvalidInputError(
                f"{self.store.name!r} in {shown(self.store.path)} was not embedded by this "
                "encoder. Give another --name, or the --embedder that it was made with."
            )

    def _here(
        self, files: dict[str, Path], stored: dict[str, Stored], *, show_progress_bar: bool
    ) -> Iterator[list[Embedded]]:
        """Read all files, then embed what the store lacks, in this process."""
        embedding = Embedding(self.embedder)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as plan:
            hidden = not show_progress_bar
            for source, path in tqdm(files.items(), "reading", unit="file", disable=hidden):
                self.stop.check()
                reading = read_file(path, source, stored.get(source), self.cutting)
                self._note(reading)
                plan.writelines(f"{task.to_json()}\n" for task in reading.tasks)
            plan.seek(0)
            with self._progress_bar(self.progress.planned, show_progress_bar):
                while tasks := [Task.from_json(line) for line in islice(plan, CHUNK)]:
                    yield embedding.embed(tasks)

    def _on_ray(
        self, files: dict[str, Path], stored: dict[str, Stored], *, show_progress_bar: bool
    ) -> Iterator[list[Embedded]]:
        """Take what the cluster has read and embedded, in the order in which it comes."""
        assert self.ray_map is not None  # the caller looked
        with self._progress_bar(None, show_progress_bar):
            for readings, done in self.ray_map.run(files, stored, self.cutting):
                for reading in readings:
                    self._note(reading)
                if self._bar.total != self.progress.planned:
                    self._bar.total = self.progress.planned
                yield done

    @contextmanager
    def _progress_bar(self, total: int | None, show: bool) -> Iterator[None]:
        self._bar = tqdm(total=total, desc="embedding", unit="passage", disable=not show)
        with self._bar:
            yield

    def _note(self, reading: Reading) -> None:
        """Count a file that was read."""
        if reading.sha256 is not None:
            self._digests[reading.source] = reading.sha256
        self.progress.planned += reading.missing
        if reading.state == "unchanged":
            self.progress.unchanged += 1
        elif reading.state == "empty":
            self.progress.empty += 1
            if reading.emptied:
                self.store.remove([reading.source])
        elif reading.state == "unreadable":
            self._list(reading.source, None, reading.reason)

    def _take(self, done: Sequence[Embedded]) -> None:
        """Take what is embedded; commit where it is time, or where a stop is asked for."""
        for each in done:
            task = each.task
            source = task.row.source
            if each.vector is None:
                self._list(source, task.row.page, each.reason)
            else:
                self._ready.append((task.row, each.vector))
                if task.replaces and source not in self._stored:
                    self._outdated.add(source)
                self._stored.add(source)
            left = self._left.pop(source, task.missing) - 1
            if left:
                self._left[source] = left
            elif source in self._stored:
                self._ended[source] = "changed" if task.replaces else "added"
        self._bar.update(len(done))
        now = time.monotonic()
        late = now - self._committed >= SECONDS
        if late or len(self._ready) >= MOST or self.stop.asked:
            self._commit()
        if self._bar.disable and now - self._logged >= LOG_SECONDS:
            self._logged = now
            so_far = f"{self.progress.passages + len(self._ready)}"
            if self.ray_map is None:  # otherwise reading goes on
                so_far += f" of {self.progress.planned}"
            _log.info("%s passages", so_far)
        self.stop.check()

    def _commit(self) -> None:
        """Store what is embedded; old rows of a changed file stay until then."""
        self.store.remove(sorted(self._outdated))
        self._outdated.clear()
        if self._ready:
            rows = [row for row, _ in self._ready]
            self.store.add(rows, np.stack([vector for _, vector in self._ready]))
        self.progress.passages += len(self._ready)
        for kind in self._ended.values():
            setattr(self.progress, kind, getattr(self.progress, kind) + 1)
        self._ready, self._ended = [], {}
        self._committed = time.monotonic()

    def _list(self, source: str, page: int | None, reason: str) -> None:
        listed: dict[str, Any] = {"file": source, "reason": " ".join(reason.split())}
        if page is not None:
            listed["page"] = page
        self.progress.unreadable.append(listed)
