"""A Chroma collection behind the calls of `Store`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError
from energy_plugin.library.stores.address import server_of, shown
from energy_plugin.library.stores.store import (
    EMBEDDER,
    FIELDS,
    MOST_COLUMNS,
    PINNED,
    Content,
    Hit,
    Passage,
    Row,
    Store,
    place,
)

if TYPE_CHECKING:
    from energy_plugin.energy import EnergyColumns, EnergyField
    from energy_plugin.library.embedders import Embedder

_PAGE = 5000  # rows of one read

FUSED = 60  # results of either side that a fusion looks at


def client(path: Path) -> Any:
    """A client of a folder or server that reports to nobody."""
    chromadb = optional("chromadb", "chroma")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    server = server_of(path)
    if server is not None:
        return chromadb.HttpClient(server.host, server.port, ssl=server.ssl, settings=settings)
    return chromadb.PersistentClient(str(path), settings)


def names(path: Path) -> list[str]:
    """Collections of a folder, those of the plugin left out."""
    from energy_chroma.stored import is_companion

    found = [collection.name for collection in client(path).list_collections()]
    return sorted(name for name in found if not is_companion(name))


class ChromaStore(Store):
    """See `Store`."""

    host = "chroma"
    may_lose_rows = True

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        import energy_chroma  # noqa: F401 - registers the embedding function

        self.collection = client(path).get_collection(name)
        self._energy: Any = None

    @classmethod
    def create(cls, path: Path, name: str, embedder: Embedder) -> ChromaStore:
        """See `Store.create`."""
        from energy_chroma import OpticalEmbeddingFunction

        function = OpticalEmbeddingFunction(embedder.name) if embedder.optical else None
        client(path).create_collection(
            name,
            embedding_function=function,
            metadata=None if embedder.optical else {EMBEDDER: embedder.name},
        )
        return cls(path, name)

    @property
    def embedder_name(self) -> str | None:
        """See `Store.embedder_name`."""
        return (self.collection.metadata or {}).get(EMBEDDER)

    @property
    def energy(self) -> Any:
        """The EnergyCollection."""
        from energy_chroma import EnergyCollection

        if self._energy is None:
            self._energy = EnergyCollection(self.collection)
        return self._energy

    def count(self) -> int:
        """Rows of the collection."""
        return int(self.collection.count())

    def sources(self) -> Iterator[tuple[str, str, int, int]]:
        """(source, sha256, part, parts) of each row."""
        wanted = ("source", "sha256", "part", "parts")
        for page in self._pages(["metadatas"]):
            for metadata in page["metadatas"]:
                if not metadata or not all(name in metadata for name in wanted):
                    raise InvalidInputError(
                        f"Collection {self.name!r} in {shown(self.path)} was not made by 'index': "
                        f"rows lack {', '.join(wanted)}. Give another --name."
                    )
                source, sha256, part, parts = (metadata[name] for name in wanted)
                yield source, sha256, int(part), int(parts)

    def add(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
        """Store rows; an id that is there already is replaced."""
        metadatas = []
        for row in rows:
            own = {name: getattr(row, name) for name in FIELDS if name not in ("id", "text")}
            values = {**dict(list(row.fields.items())[:MOST_COLUMNS]), **own}
            metadatas.append({name: value for name, value in values.items() if value is not None})
        for start in range(0, len(rows), _PAGE):
            part = slice(start, start + _PAGE)
            self.collection.upsert(
                ids=[row.id for row in rows[part]],
                embeddings=vectors[part],
                documents=[row.text for row in rows[part]],
                metadatas=metadatas[part],
            )

    def remove(self, sources: Iterable[str]) -> None:
        """Delete the rows of some files."""
        names = list(sources)
        for start in range(0, len(names), 100):
            self.collection.delete(where={"source": {"$in": names[start : start + 100]}})

    def fetch(
        self, *, ids: Sequence[str] | None = None, source: str | None = None
    ) -> list[Passage]:
        """See `Store.fetch`."""
        if ids is not None and not ids:  # which Chroma refuses
            return []
        asked: dict[str, Any] = {"where": {"source": source}} if ids is None else {"ids": list(ids)}
        found = self.collection.get(**asked, include=["documents", "metadatas"])
        rows = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
        return [_passage(name, text or "", metadata or {}) for name, text, metadata in rows]

    def embed_query(self, text: str) -> NDArray[np.float32] | None:
        """See `Store.embed_query`."""
        from energy_chroma import OpticalEmbeddingFunction

        function = self.collection.configuration.get("embedding_function")
        if not isinstance(function, OpticalEmbeddingFunction):
            return None
        return np.asarray(self.energy.embed_query(text), dtype=np.float32)

    @property
    def has_words(self) -> bool:
        """The companion keeps the words of the documents."""
        from energy_chroma.stored import has_words

        return has_words(self.energy)

    def _build(self, engine: str, show_progress_bar: bool) -> None:
        self.energy.build(lexical=True, show_progress_bar=show_progress_bar)

    def search(
        self, text: str, k: int, *, vector: Any | None, where: str | None, ranking: str
    ) -> list[Hit]:
        """The k best rows of one ranking."""
        if ranking == "fusion":
            from energy_plugin.library.comparison import fused

            first = [
                self.search(text, max(k, FUSED), vector=vector, where=where, ranking=each)
                for each in ("cosine", "words")
            ]
            known = {hit.id: hit for hits in first for hit in hits}
            scores = fused([[hit.id for hit in hits] for hits in first])
            return [replace(known[name], distance=-scores[name]) for name in list(scores)[:k]]
        asked: dict[str, Any] = {"n_results": k}
        if vector is None or ranking in ("words", "hybrid"):
            asked["query_texts"] = [text]
        if vector is not None:
            asked["query_embeddings"] = [vector]
        if where is not None:
            asked["where"] = _filter(where)
        if ranking in ("words", "hybrid"):
            asked["hybrid"] = True
            asked["lexical_weight"] = 1.0 if ranking == "words" else None
        host = self.collection if ranking == "cosine" else self.energy
        include = ["documents", "metadatas", "distances"]
        if ranking in ("energy", "hybrid"):
            include.append("energies")
        found = host.query(**asked, include=include)
        nothing: list[Any] = [[None] * len(found["ids"][0])]
        relevances = found.get("relevance") or nothing
        terms = found.get("energies") or nothing
        rows = zip(
            *(found[name][0] for name in ("ids", "documents", "distances", "metadatas")),
            relevances[0],
            terms[0],
            strict=True,
        )
        return [
            replace(
                _hit(name, text or "", float(distance), metadata or {}),
                relevance=relevance,
                terms=energies,
            )
            for name, text, distance, metadata, relevance, energies in rows
        ]

    def content(self) -> Content:
        """All rows."""
        ids: list[str] = []
        texts: list[str] = []
        vectors: list[NDArray[np.float32]] = []
        places: list[tuple[str, int] | None] = []
        sources: list[str | None] = []
        for page in self._pages(["documents", "embeddings", "metadatas"]):
            ids += page["ids"]
            texts += [text or "" for text in page["documents"]]
            known = [metadata or {} for metadata in page["metadatas"]]
            places += [place(each.get("source"), each.get("page")) for each in known]
            sources += [each.get("source") for each in known]
            vectors.append(np.asarray(page["embeddings"], dtype=np.float32))
        if not ids:
            raise InvalidInputError(f"Collection {self.name!r} in {shown(self.path)} is empty.")
        return Content(ids, texts, np.concatenate(vectors), places, sources)

    def forget(self, now: Any, column: str, *, dry_run: bool) -> Any:
        """See `EnergyCollection.forget`."""
        pinned = self.collection.get(where={PINNED: True}, limit=1, include=[])["ids"]
        pins = PINNED if pinned else None
        return self.energy.forget(now, time_key=column, pin_key=pins, dry_run=dry_run)

    def columns(self) -> tuple[EnergyField, EnergyColumns, list[str]]:
        """See `Store.columns`."""
        from energy_chroma.stored import stored_rows

        return stored_rows(self.energy)

    def _pages(self, include: list[str]) -> Iterable[Any]:
        for start in range(0, self.count(), _PAGE):
            yield self.collection.get(limit=_PAGE, offset=start, include=include)


def _hit(name: str, text: str, distance: float, metadata: dict[str, Any]) -> Hit:
    fields = _fields(metadata)
    return Hit(name, text, distance, metadata.get("source"), metadata.get("page"), fields)


def _passage(name: str, text: str, metadata: dict[str, Any]) -> Passage:
    known = {key: metadata.get(key) for key in ("source", "part", "page", "modified")}
    return Passage(name, text, **known, fields=_fields(metadata))


def _fields(metadata: dict[str, Any]) -> dict[str, Any]:
    own = {*FIELDS, "chroma:document"}
    return {
        key: value
        for key, value in metadata.items()
        if key not in own and not key.startswith("energy_")
    }


def _filter(where: str) -> dict[str, Any]:
    try:
        value = json.loads(where)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"--where is {where!r}, expected Chroma's filter as JSON, such as "
            '\'{"source": "a.txt"}\'.'
        ) from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"--where is {where!r}, expected a JSON object.")
    return value
