"""The state of a collection's energy field: what it takes, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from energy_chroma import reach, view
from energy_chroma.chunks import unpack
from energy_chroma.fields import ChromaField
from energy_chroma.host import ChromaHost
from energy_chroma.pointer import embedder_of
from energy_chroma.store import FieldStore
from energy_plugin.errors import CorruptFieldError
from energy_plugin.stored import FieldInfo, Finding, Taken
from energy_plugin.stored.info import described

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyConfig


def describe(field: ChromaField, store: FieldStore) -> FieldInfo:
    """Measure a loaded field and its records."""
    pointer, blob, chunks = store.read()
    worded = [unpack(chunk, pointer.dim).worded for chunk in chunks] if pointer.words else []
    word_bytes = sum(len(one.words) + one.prints.nbytes for one in worded if one is not None)
    return FieldInfo(
        **described(field.index),
        name=field.host.name,
        generation=pointer.generation,
        version=pointer.version,
        layout="companion and metadata" if pointer.row_columns else "companion",
        embedder=None if embedder_of(pointer) is None else pointer.embedder,
        field_bytes=len(blob),
        column_bytes=sum(len(chunk) for chunk in chunks) - word_bytes,
        pending=field.pending,
        without_vector=len(field.unreadable),
        chunks=pointer.chunks,
        words=pointer.language,
        word_bytes=word_bytes,
    )


def shown_otherwise(host: ChromaHost, field: ChromaField) -> Iterator[Finding]:
    """Rows whose metadata show other values than their columns."""
    if not field.pointer.row_columns:
        return
    columns = field.columns_of(field.index.rows)
    names = field.rows.names(field.index.rows.tolist())
    truth = dict(zip(names, zip(*_shown(columns), strict=True), strict=True))
    keys = (view.LAMBDA, view.DISPERSION, view.CELL)
    wrong = []
    for page in host.record_pages(["metadatas"]):
        for name, metadata in zip(page["ids"], page["metadatas"], strict=True):
            got = tuple((metadata or {}).get(key) for key in keys)
            if name in truth and not _alike(got, truth[name]):
                wrong.append(name)
    known = set(field.pending.added) | set(field.pending.changed)
    wrong = [name for name in wrong if name not in known]
    if wrong:
        yield Finding(
            "altered",
            f"The energy keys in the metadata of {len(wrong)} rows differ from their columns.",
            "repair()",
            tuple(wrong),
        )


def _shown(columns: Any) -> tuple[list[Any], ...]:
    return columns.lambda_.tolist(), columns.dispersion.tolist(), columns.cell.tolist()


def _alike(got: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    return None not in got and bool(np.allclose(got, expected, rtol=0, atol=1e-6))


def other_documents(field: ChromaField) -> Iterator[str]:
    """Ids of rows whose words are not those of their document, or not there; reads all."""
    if field.words is None:
        return
    for page in field.host.record_pages(["documents"]):
        for name in field.words.differing(page["ids"], page["documents"]):
            if name in field.rows:
                yield name


def worded_otherwise(field: ChromaField) -> Iterator[Finding]:
    """Rows whose stored words are not those of their documents."""
    if field.words is None:
        return
    behind = list(other_documents(field))
    if behind:
        message = f"{len(behind)} rows have words of another document, or none."
        yield Finding("pending", message, "refresh()", tuple(behind))
    wrong: list[str] = []
    known = set(behind)
    for page in field.host.record_pages(["documents"]):
        some = {
            name: text
            for name, text in zip(page["ids"], page["documents"], strict=True)
            if name in field.rows and name not in known
        }
        wrong += field.words.altered(field.words.encode(list(some), list(some.values())))
    if wrong:
        message = f"The stored words of {len(wrong)} rows differ from those of their documents."
        yield Finding("altered", message, "repair()", tuple(wrong))


def out_of_reach(host: ChromaHost, taken: Taken) -> Iterator[Finding]:
    """Rows that Chroma's own search misses; energy finds them."""
    if taken.vectors is None or len(taken.vectors) == 0:
        return
    names = taken.origin[1]
    places = reach.sample(len(names))
    some = [names[place] for place in places]
    lost = reach.unreachable(host, some, taken.vectors[places])
    if len(lost):
        of = "" if len(places) == len(names) else f" of {len(places):,} checked rows"
        yield Finding(
            "unreachable",
            f"Chroma's own search does not find {len(lost):,} rows{of}, not even by their own "
            "vectors: its graph has no path to them. Energy search finds them.",
            "repair(reach=True) writes their vectors again; reembed() builds a new collection",
            tuple(some[place] for place in lost),
        )


@dataclass(frozen=True)
class Salvage:
    """Settings of a damaged field, as far as they can be read."""

    config: EnergyConfig | None = None
    row_columns: bool = True
    language: str | None = None  # of the words, None without any


def salvage(store: FieldStore) -> Salvage:
    """What can be read of the settings of a field that cannot be used."""
    from energy_plugin.energy import EnergyField

    found = Salvage()
    try:
        pointer = store.pointer()
        if pointer is not None:
            found = Salvage(None, pointer.row_columns, pointer.language)
            config = EnergyField.from_bytes(store.field_blob(pointer)).config
            return Salvage(config, pointer.row_columns, pointer.language)
    except CorruptFieldError:
        pass
    return found
