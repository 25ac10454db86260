"""A folder's files into a table or collection, and only what changed."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.folder import Cutting, Listing, modified, source_of
from energy_plugin.library.files.pages import picture
from energy_plugin.library.files.part import Part
from energy_plugin.library.stopping import Stop
from energy_plugin.library.stores.store import NOTE, Row, Store

if TYPE_CHECKING:
    from energy_plugin.library.embedders import Embedder

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


@dataclass
class Stored:
    """What a host has of one file."""

    sha256: str
    parts: int
    present: set[int]

    @property
    def complete(self) -> bool:
        """Every part is there."""
        return len(self.present) == self.parts


def stored_files(rows: Iterable[tuple[str, str, int, int]]) -> dict[str, Stored]:
    """Files by name, from (source, sha256, part, parts) of each row; notes are left out."""
    found: dict[str, Stored] = {}
    for source, sha256, part, parts in rows:
        if sha256 == NOTE:
            continue
        known = found.setdefault(source, Stored(sha256, parts, set()))
        if (known.sha256, known.parts) != (sha256, parts):
            known.sha256 = ""  # of two contents: stored again
        known.present.add(part)
    return found


@dataclass
class _File:
    """A file's parts that are to be stored; one line of the plan."""

    path: str
    source: str
    sha256: str
    modified: str
    parts: int
    kind: str  # "added" or "changed"
    outdated: bool  # rows of an older content stand in the host
    missing: list[tuple[int, Part]]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> _File:
        values = json.loads(line)
        values["missing"] = [(number, Part(**part)) for number, part in values["missing"]]
        return cls(**values)


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
    ) -> None:
        self.folder = folder
        self.listing = listing
        self.store = store
        self.embedder = embedder
        self.cutting = cutting
        self.progress = progress
        self.stop = stop
        self._waiting: list[tuple[Row, _File]] = []
        self._ready: list[tuple[Row, NDArray[np.float32]]] = []
        self._outdated: set[str] = set()  # files whose old rows go with the next commit
        self._ended: dict[str, str] = {}  # "added" or "changed", by file that ends in the commit
        self._stored: set[str] = set()  # files with a row of this run
        self._committed = time.monotonic()
        self._logged = time.monotonic()
        self._bytes: tuple[str, bytes] = ("", b"")  # of the file whose pages are drawn
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
        files = self.listing.files
        self.progress.files = len(files)
        stored = stored_files(self.store.sources())
        names = {source_of(self.folder, path) for path in files}
        if stored:
            self._check(names, stored)
        gone = stored.keys() - names
        self.store.remove(sorted(gone))
        self.progress.removed = len(gone)
        digests: dict[str, str] = {}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as plan:
            for path in tqdm(files, "reading", unit="file", disable=not show_progress_bar):
                self.stop.check()
                self._read(path, stored, plan, digests)
            plan.seek(0)
            self._bar = tqdm(
                total=self.progress.planned,
                desc="embedding",
                unit="passage",
                disable=not show_progress_bar,
            )
            with self._bar:
                for line in plan:
                    self._file(_File.from_json(line))
                self._embed()
                self._commit()
        return digests

    def _check(self, names: set[str], stored: dict[str, Stored]) -> None:
        if not names & stored.keys():
            raise InvalidInputError(
                f"{self.store.name!r} in {self.store.path} holds {len(stored)} files of another "
                f"folder, such as {min(stored)!r}, none of which is in {self.folder}. "
                "Give another --name."
            )
        if not self.store.embedded_by(self.embedder):
            raise InvalidInputError(
                f"{self.store.name!r} in {self.store.path} was not embedded by this encoder. "
                "Give another --name, or the --embedder that it was made with."
            )

    def _read(
        self, path: Path, stored: dict[str, Stored], plan: TextIO, digests: dict[str, str]
    ) -> None:
        source = source_of(self.folder, path)
        before = stored.get(source)
        try:
            data = path.read_bytes()
            sha256 = digests[source] = self.cutting.digest(data)
            if before and before.sha256 == sha256 and before.complete:
                self.progress.unchanged += 1
                return
            found = self.cutting.parts(path, data)
            changed = modified(path)
        except (InvalidInputError, OSError) as error:
            self._list(source, None, str(error))
            return
        same = before is not None and (before.sha256, before.parts) == (sha256, len(found))
        there = before.present if same and before is not None else set()
        missing = [(number, part) for number, part in enumerate(found) if number not in there]
        if not missing:
            self.progress.empty += 1
            if before is not None and not same:
                self.store.remove([source])
            return
        kind = "changed" if before is not None and not same else "added"
        planned = _File(
            *(str(path), source, sha256, changed, len(found), kind, kind == "changed", missing)
        )
        self.progress.planned += len(missing)
        plan.write(planned.to_json() + "\n")

    def _file(self, file: _File) -> None:
        for number, part in file.missing:
            row = Row(
                id=f"{file.source}#{number}",
                text=part.text,
                source=file.source,
                part=number,
                parts=file.parts,
                sha256=file.sha256,
                modified=file.modified,
                page=part.page,
                picture=part.picture,
                fields=part.fields,
            )
            self._waiting.append((row, file))
            if len(self._waiting) >= CHUNK:
                self._embed()

    def _embed(self) -> None:
        """Embed what waits; commit where it is time, or where a stop is asked for."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            done = self._vectors(waiting)
        except InvalidInputError:
            done = []
            for one in waiting:
                try:
                    done += self._vectors([one])
                except (InvalidInputError, OSError) as error:
                    self._list(one[0].source, one[0].page, f"{one[1].path}: {error}")
        kept = {row.id for row, _ in done}
        for row, file in waiting:
            if row.id in kept and file.outdated and file.source not in self._stored:
                self._outdated.add(file.source)
            if row.id in kept:
                self._stored.add(file.source)
            if row.part == file.missing[-1][0] and file.source in self._stored:
                self._ended[file.source] = file.kind
        self._ready += done
        self._bar.update(len(waiting))
        now = time.monotonic()
        late = now - self._committed >= SECONDS
        if late or len(self._ready) >= MOST or self.stop.asked:
            self._commit()
        if self._bar.disable and now - self._logged >= LOG_SECONDS:
            self._logged = now
            _log.info("%d of %d passages", self._bar_done(), self.progress.planned)
        self.stop.check()

    def _bar_done(self) -> int:
        return self.progress.passages + len(self._ready)

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

    def _vectors(
        self, waiting: Sequence[tuple[Row, _File]]
    ) -> list[tuple[Row, NDArray[np.float32]]]:
        done: list[tuple[Row, NDArray[np.float32]]] = []
        texts = [row for row, _ in waiting if not row.picture]
        if texts:
            vectors = self.embedder.encode_document([row.text for row in texts])
            done += zip(texts, np.asarray(vectors, dtype=np.float32), strict=True)
        for row, file in waiting:
            if row.picture:
                seen = self._picture(file, row)
                text, vector = self.embedder.encode_page(seen)
                done.append((replace(row, text=text), vector))
        return done

    def _picture(self, file: _File, row: Row) -> Any:
        if self._bytes[0] != file.path:
            self._bytes = (file.path, Path(file.path).read_bytes())
        return picture(Path(file.path), self._bytes[1], row.page or 1)
