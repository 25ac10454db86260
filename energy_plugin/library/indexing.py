"""Indexing of a folder from start to end; nothing is opened where nothing changed."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.files.folder import Cutting, Listing, files_below, source_of
from energy_plugin.library.memory import keep, recall
from energy_plugin.library.stopping import Stop

_log = logging.getLogger(__name__)
_NOTE = "index"
ENGINES = ("local", "ray")
ORIGIN = "folder"  # the note of the folder that an index mirrors


@dataclass(frozen=True)
class Request:
    """What to index, and into what.

    Parameters
    ----------
    folder : Path
    into : Path
        Folder of the database; made where missing.
    name : str
        Table or collection.
    host : {"lancedb", "chroma"}, optional
        That of `into`; LanceDB where it is new.
    embedder : str
        See `energy_plugin.library.embedders.load_embedder`.
    cutting : Cutting
    ocr : {"rapidocr", "tesseract"}, optional
        Also read pages that are pictures by that engine.
    engine : {"local", "ray"}
        Reads and embeds the files in this process or on a Ray cluster; both give the same rows.
        This process writes them. With "ray", LanceDB's field is built there too.
    """

    folder: Path
    into: Path
    name: str = "docs"
    host: str | None = None
    embedder: str = "compact"
    cutting: Cutting = field(default_factory=Cutting)
    ocr: str | None = None
    engine: str = "local"

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InvalidInputError(
                f"engine is {self.engine!r}, expected one of {', '.join(ENGINES)}."
            )


@dataclass
class Outcome:
    """What a run did.

    Attributes
    ----------
    host : str
    rows : int
        In the host.
    field : {"built", "refreshed", "unchanged", "none"}
    progress : dict
        Of `energy_plugin.library.ingest.Progress`.
    """

    host: str
    rows: int
    field: str
    progress: dict[str, Any]


def index_folder(request: Request, progress: dict[str, Any], *, show_progress_bar: bool) -> Outcome:
    """Make a table or collection mirror a folder, and keep its field up to date.

    Parameters
    ----------
    request : Request
    progress : dict
        Filled with what was done, also where the run is interrupted.
    show_progress_bar : bool

    Raises
    ------
    InvalidInputError
        Nothing to index, or the database holds something else.
    KeyboardInterrupt
        Interrupted; what was embedded is stored.
    """
    listing = files_below(request.folder, request.into)  # before anything is made
    try:
        known = _unchanged(request, listing)
    except (AttributeError, KeyError, TypeError):  # not a note of ours
        known = None
    if known is not None:
        progress.update(known.progress)
        return known
    from energy_plugin.library.embedders import Embedder, load_embedder
    from energy_plugin.library.ingest import Ingest, Progress
    from energy_plugin.library.ocr import load_ocr
    from energy_plugin.library.stores.opening import open_or_create

    loaded: list[Embedder] = []  # at most one, when it is first needed

    def embedder() -> Embedder:
        if not loaded:
            found = load_embedder(request.embedder)
            found.ocr = None if request.ocr is None else load_ocr(request.ocr)
            loaded.append(found)
        return loaded[0]

    ray_map = None
    if request.engine == "ray":
        from energy_plugin.library.on_ray import RayMap

        ray_map = RayMap(request.embedder, request.ocr)  # before anything is made
    store = open_or_create(request.into, request.name, request.host, embedder)
    keep(request.into, request.name, ORIGIN, str(request.folder.resolve()))
    done = Progress(skipped=dict(listing.skipped), outside=list(listing.outside))
    try:
        with Stop() as stop:
            ingest = Ingest(
                *(request.folder, listing, store, embedder(), request.cutting, done, stop, ray_map)
            )
            digests = ingest.run(show_progress_bar=show_progress_bar)
    finally:
        progress.update(asdict(done))
    rows = store.count()
    if rows:
        _log.info("energy field of %d rows", rows)
    built = "none"
    if rows:
        built = store.build_or_refresh(engine=request.engine, show_progress_bar=show_progress_bar)
    outcome = Outcome(store.host, rows, built, progress)
    if rows:
        from energy_plugin.library.describing import note

        note(store)
    keep(
        request.into,
        request.name,
        _NOTE,
        # a folder that could not be read is looked at again
        {
            "of": _of(request),
            "digests": {} if listing.closed else digests,
            "outcome": asdict(outcome),
        },
    )
    return outcome


def _of(request: Request) -> dict[str, Any]:
    return {
        "folder": str(request.folder.resolve()),
        "embedder": request.embedder,
        "cutting": asdict(request.cutting),
        "ocr": request.ocr,
    }


def _unchanged(request: Request, listing: Listing) -> Outcome | None:
    """The outcome where the last run left nothing to do and neither side changed since."""
    noted = recall(request.into, request.name, _NOTE)
    if noted is None or noted["of"] != _of(request):
        return None
    outcome = Outcome(**noted["outcome"])
    if request.host not in (None, outcome.host):
        return None
    digests = noted["digests"]
    names = {source_of(request.folder, path): path for path in listing.files}
    if listing.closed or names.keys() != digests.keys():
        return None
    try:
        for name, path in names.items():
            if request.cutting.digest(path.read_bytes()) != digests.get(name):
                return None
    except (InvalidInputError, OSError):
        return None
    progress = outcome.progress
    whole = progress["added"] + progress["changed"] + progress["unchanged"]
    progress |= {"unchanged": whole, "added": 0, "changed": 0, "removed": 0}
    progress |= {"planned": 0, "passages": 0}
    progress |= {"skipped": dict(listing.skipped), "outside": list(listing.outside)}
    outcome.field = "unchanged" if outcome.rows else "none"
    return outcome
