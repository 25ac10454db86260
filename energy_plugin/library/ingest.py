"""A folder's files into a table or collection, batch by batch, and only what changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.folder import content_hash, document, files_below, source_of
from energy_plugin.library.stores.store import Row, Store

if TYPE_CHECKING:
    from energy_plugin.optical import OpticalEncoder

BATCH = 256  # passages between two commits


@dataclass
class Progress:
    """What a run has done so far; numbers of files except for `passages`."""

    files: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    empty: int = 0
    passages: int = 0  # stored by this run
    unreadable: list[dict[str, str]] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files that need no more work."""
        return self.added + self.changed + self.unchanged + self.empty + len(self.unreadable)


@dataclass(frozen=True)
class Stored:
    """What a host has of one file."""

    sha256: str
    parts: int
    count: int


def stored_files(rows: Iterable[tuple[str, str, int]]) -> dict[str, Stored]:
    """Files by name, from (source, sha256, parts) of each row."""
    found: dict[str, Stored] = {}
    for source, sha256, parts in rows:
        before = found.get(source)
        count = 1 if before is None else before.count + 1
        same = before is None or (before.sha256, before.parts) == (sha256, parts)
        found[source] = Stored(sha256 if same else "", parts, count)
    return found


class Ingest:
    """Makes a store mirror a folder.

    A file's passages are stored in order, so that the number of them that the store has tells
    where to go on.

    Parameters
    ----------
    folder : Path
    store : Store
    encoder : OpticalEncoder
    size : int
        Characters of a passage.
    progress : Progress
        Kept up to date, also when the run is interrupted.
    """

    def __init__(
        self, folder: Path, store: Store, encoder: OpticalEncoder, size: int, progress: Progress
    ) -> None:
        self.folder = folder
        self.store = store
        self.encoder = encoder
        self.size = size
        self.progress = progress
        self._rows: list[Row] = []
        self._images: dict[str, Path] = {}  # by id of the row
        self._outdated: set[str] = set()  # files whose old rows go with the next batch
        self._finished: dict[str, str] = {}  # "added" or "changed", of files that end in the batch
        self._refused: set[str] = set()  # files that the encoder cannot read

    def run(self, *, show_progress_bar: bool) -> None:
        """Store what is new, replace what changed, remove what is gone.

        Raises
        ------
        InvalidInputError
            Nothing to index, or the store holds another folder or vectors of another encoder.
        """
        files = files_below(self.folder)
        self.progress.files = len(files)
        stored = stored_files(self.store.sources())
        names = {source_of(self.folder, path) for path in files}
        if stored:
            self._check(names, stored)
        gone = stored.keys() - names
        self.store.remove(sorted(gone))
        self.progress.removed = len(gone)
        with tqdm(
            total=len(files), desc="files", unit="file", disable=not show_progress_bar
        ) as bar:
            for path in files:
                self._file(path, stored)
                bar.update(self.progress.done - bar.n)
            self._commit()
            bar.update(self.progress.done - bar.n)

    def _check(self, names: set[str], stored: dict[str, Stored]) -> None:
        if not names & stored.keys():
            raise InvalidInputError(
                f"{self.store.name!r} in {self.store.path} holds {len(stored)} files of another "
                f"folder, such as {min(stored)!r}, none of which is in {self.folder}. "
                "Give another --name."
            )
        text = "the same encoder"
        theirs, ours = self.store.embed_query(text), self.encoder.encode_query(text)
        if theirs is None or theirs.shape != ours.shape or not np.allclose(theirs, ours, atol=1e-3):
            raise InvalidInputError(
                f"{self.store.name!r} in {self.store.path} was not embedded by this encoder. "
                "Give another --name."
            )

    def _file(self, path: Path, stored: dict[str, Stored]) -> None:
        source = source_of(self.folder, path)
        before = stored.get(source)
        try:
            data = path.read_bytes()
            sha256 = content_hash(data, self.size)
            if before and before.sha256 == sha256 and before.count == before.parts:
                self.progress.unchanged += 1
                return
            found = document(self.folder, path, data, self.size)
        except (InvalidInputError, OSError) as error:
            self._list(source, str(error))
            return
        parts = len(found.texts)
        start = 0
        if before and (before.sha256, before.parts) == (sha256, parts) and before.count < parts:
            start = before.count
        elif before:
            self._outdated.add(source)
        for part in range(start, parts):
            if source in self._refused:
                return
            row = Row(
                id=f"{source}#{part}",
                text=found.texts[part],
                source=source,
                part=part,
                parts=parts,
                sha256=sha256,
                modified=found.modified,
            )
            if found.image is not None:
                self._images[row.id] = found.image
            self._rows.append(row)
            if len(self._rows) >= BATCH and part + 1 < parts:
                self._commit()
        if parts == 0:
            self.progress.empty += 1
        elif source not in self._refused:
            self._finished[source] = "changed" if before and start == 0 else "added"
        if len(self._rows) >= BATCH:
            self._commit()

    def _list(self, source: str, reason: str) -> None:
        self.progress.unreadable.append({"file": source, "reason": " ".join(reason.split())})

    def _commit(self) -> None:
        """Store what is held; embedding comes first, so that old rows stay until then."""
        try:
            vectors = self._vectors(self._rows)
        except InvalidInputError:
            self._refuse()
            vectors = self._vectors(self._rows)
        self.store.remove(sorted(self._outdated))
        self._outdated.clear()
        if self._rows:
            self.store.add(self._rows, vectors)
        self.progress.passages += len(self._rows)
        for kind in self._finished.values():
            setattr(self.progress, kind, getattr(self.progress, kind) + 1)
        self._rows, self._images, self._finished = [], {}, {}

    def _refuse(self) -> None:
        """Leave out the files that the encoder cannot read; their old rows stay."""
        for row in self._rows:
            try:
                self._vectors([row])
            except InvalidInputError as error:
                if row.source not in self._refused:
                    self._refused.add(row.source)
                    self._list(row.source, f"{self.folder / row.source}: {error}")
        self._rows = [row for row in self._rows if row.source not in self._refused]
        self._outdated -= self._refused
        for source in self._refused:
            self._finished.pop(source, None)

    def _vectors(self, rows: list[Row]) -> NDArray[np.float32]:
        vectors = np.empty((len(rows), self.encoder.dim), dtype=np.float32)
        texts = [i for i, row in enumerate(rows) if row.id not in self._images]
        images = [i for i, row in enumerate(rows) if row.id in self._images]
        if texts:
            vectors[texts] = self.encoder.encode_document([rows[i].text for i in texts])
        if images:
            pictures: list[Any] = [self._images[rows[i].id] for i in images]
            vectors[images] = self.encoder.encode_images(pictures)
        return vectors
