"""Another embedding function for a collection: a copy beside it takes its name.

========================= =================================================================
collections               state
========================= =================================================================
``x``                     before, and after
``x``, ``x.energy-new``   rows are embedded into the copy; begun again it resumes from there
``x.energy-new``,         between two renames; `recover` does the second one
``x.energy-old``
``x``, ``x.energy-old``   rows written at the last moment are copied, then the old one goes
========================= =================================================================

At every moment one collection holds all rows with vectors of one function.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any

from chromadb.api.models.Collection import Collection
from tqdm.auto import tqdm

from energy_chroma import view
from energy_chroma.host import ChromaHost
from energy_chroma.identity import identity_of
from energy_plugin.errors import ForeignFieldError, InvalidInputError
from energy_plugin.stored.moments import reached

if TYPE_CHECKING:
    from energy_chroma.pointer import Pointer


class CopyMoment(Enum):
    """How far a replacement has come; its field passes the moments of a build in between."""

    CHECKED = "every row can be embedded; nothing is written"
    BEGUN = "the copy exists"
    WHOLE = "the copy has every row, and a field where the original has one"
    NAMELESS = "no collection has the name"
    RENAMED = "the copy has the name"
    CAUGHT_UP = "rows written at the last moment are copied; the original goes next"


logger = logging.getLogger(__name__)

NEW, OLD = ".energy-new", ".energy-old"
LONGEST_NAME = 512  # of a collection
STEP = 500  # rows embedded in one call
# Passes over all rows that copy what others write meanwhile; one more follows the renames.
PASSES = 3
_ENERGY_KEYS = frozenset({view.LAMBDA, view.DISPERSION, view.CELL})
_FIELDS = ("documents", "metadatas", "uris")


def refuse_other(host: ChromaHost, function: Any, pointer: Pointer | None) -> None:
    """Refuse an embedding function whose vectors are others than the stored ones.

    Chroma itself asks a function only after it has stored the change.

    Raises
    ------
    ForeignFieldError
        Name or configuration differ from what embedded the rows.
    """
    from energy_chroma.pointer import embedder_of

    wanted, stored = identity_of(function), host.stored_embedder()
    built = None if pointer is None else embedder_of(pointer)
    if stored is None or wanted in (built, stored if built is None else built):
        return
    if host.count() == 0:
        return
    raise ForeignFieldError(
        f"The rows of {host.collection.name!r} were embedded by {built or stored}, not by "
        f"{wanted}: their vectors could not be compared with new ones. Nothing was changed. "
        "reembed(embedding_function) embeds all rows again and then replaces this "
        "collection."
    )


def copied(host: ChromaHost, function: Any, *, show_progress_bar: bool) -> Collection:
    """All rows, embedded by another function, in a collection beside.

    Raises
    ------
    InvalidInputError
        A row has neither a document nor a uri that the collection can load, or the name is too
        long for a copy; nothing is written.
    """
    wanted = identity_of(function)
    name = f"{host.collection.name}{NEW}"
    if len(name) > LONGEST_NAME:
        raise InvalidInputError(
            f"The copy would be called {name[:20]}…{NEW}, of {len(name)} characters; Chroma allows "
            f"{LONGEST_NAME}. Give the collection a shorter name first: modify(name=...)."
        )
    _check_embeddable(host)
    reached(CopyMoment.CHECKED)
    beside = host.sibling(name)
    if beside is not None:
        begun = ChromaHost(beside).stored_embedder()
        if begun is None or begun != wanted:
            discard(beside)  # begun with yet another function
            beside = None
    if beside is None:
        host.create_sibling(name, function)
    beside = host.sibling(name, function)
    assert beside is not None
    reached(CopyMoment.BEGUN)
    for _ in range(PASSES):
        if not synchronise(host, beside, show_progress_bar=show_progress_bar):
            break
    return beside


def synchronise(host: ChromaHost, beside: Collection, *, show_progress_bar: bool = False) -> int:
    """Bring the copy up to the original; the number of rows that had to be written or deleted."""
    other = ChromaHost(beside)
    present: set[str] = set()
    written = 0
    with tqdm(total=host.count(), desc="Embedding", disable=not show_progress_bar) as bar:
        for page in _pages(host):
            present.update(page)
            there = _rows(other, list(page))
            stale = [name for name, row in page.items() if there.get(name) != row]
            former = [name for name in stale if name in there]
            if former:  # an upsert would keep metadata that the original no longer has
                beside.delete(ids=former)
            for start in range(0, len(stale), STEP):
                names = stale[start : start + STEP]
                _add(host, other, names, [page[name] for name in names])
                bar.update(len(names))
            written += len(stale)
    gone = [name for name in other.ids() if name not in present]
    for start in range(0, len(gone), STEP):
        beside.delete(ids=gone[start : start + STEP])
    return written + len(gone)


def swap(host: ChromaHost, beside: Collection) -> int:
    """Give the copy the name of the original; the rows that were written at the last moment."""
    name = str(host.collection.name)
    reached(CopyMoment.WHOLE)
    host.collection.modify(name=f"{name}{OLD}")
    reached(CopyMoment.NAMELESS)
    beside.modify(name=name)
    reached(CopyMoment.RENAMED)
    return _finish(host, beside)


def _finish(host: ChromaHost, beside: Collection) -> int:
    late = synchronise(host, beside)
    reached(CopyMoment.CAUGHT_UP)
    discard(host.collection)
    return late


def discard(collection: Collection) -> None:
    """Delete a collection together with its energy field."""
    host = ChromaHost(collection)
    if host.companion() is not None:
        host.beside.delete()
    host.delete()


def recover(client: Any) -> list[str]:
    """Finish calls of `EnergyCollection.reembed` that were interrupted between the two renames.

    Parameters
    ----------
    client : chromadb client
        Persistent or HTTP.

    Returns
    -------
    list of str
        Names of the collections that are complete again. An incomplete copy is kept: ``reembed()``
        resumes it.

    Raises
    ------
    InvalidInputError
        Another program made a new collection while the name was free; the message names all three
        collections.
    """
    names = {str(one.name): one for one in client.list_collections()}
    done = []
    for former in sorted(name for name in names if name.endswith(OLD)):
        name = former.removesuffix(OLD)
        fresh = f"{name}{NEW}"
        if name in names and fresh in names:
            raise InvalidInputError(
                f"Collections {name!r}, {former!r} and {fresh!r} exist: {name!r} was made while "
                "the other two were exchanged. Rename or delete it, and call recover() again."
            )
        if name in names or fresh in names:
            beside = names.get(name) or names[fresh]
            if name not in names:
                beside.modify(name=name)
            _finish(ChromaHost(names[former]), beside)
        else:
            names[former].modify(name=name)
        done.append(name)
        logger.info("collection %r is whole again", name)
    return done


def _check_embeddable(host: ChromaHost) -> None:
    bare = [
        name
        for page in _pages(host)
        for name, (document, _, uri) in page.items()
        if document is None and (uri is None or not host.has_loader)
    ]
    if bare:
        raise InvalidInputError(
            f"{len(bare)} rows of {host.collection.name!r}, such as {bare[0]!r}, have nothing to "
            "embed: no document, and no uri that a data loader of the collection could read. "
            "Nothing was changed. Add their documents, or delete the rows."
        )


def _pages(host: ChromaHost) -> Iterator[dict[str, tuple[Any, Any, Any]]]:
    for got in host.record_pages(_FIELDS):
        yield dict(zip(got["ids"], _tuples(got), strict=True))


def _rows(host: ChromaHost, ids: list[str]) -> dict[str, tuple[Any, Any, Any]]:
    fields = host.records(ids, _FIELDS)
    return {
        name: (
            fields["documents"].get(name),
            _own(fields["metadatas"][name]),
            fields["uris"].get(name),
        )
        for name in fields["metadatas"]
    }


def _tuples(got: Any) -> list[tuple[Any, Any, Any]]:
    return [
        (document, _own(metadata), uri)
        for document, metadata, uri in zip(
            got["documents"], got["metadatas"], got["uris"], strict=True
        )
    ]


def _own(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """The user's part of a row's metadata."""
    own = {key: value for key, value in (metadata or {}).items() if key not in _ENERGY_KEYS}
    return own or None


def _add(host: ChromaHost, other: ChromaHost, names: list[str], found: list[Any]) -> None:
    """Embed rows, those with a document by it, the others by what their uri names."""
    for by_document in (True, False):
        some = [
            (name, row)
            for name, row in zip(names, found, strict=True)
            if (row[0] is not None) == by_document
        ]
        if not some:
            continue
        ids, parts = zip(*some, strict=True)
        documents, metadatas, uris = map(list, zip(*parts, strict=True))
        vectors = other.embed(documents if by_document else host.load(uris))
        other.collection.add(
            ids=list(ids),
            embeddings=vectors,
            documents=documents,
            metadatas=metadatas,
            uris=uris,
        )
