"""The demonstration's documents in both hosts, on disk; what is there is not done again.

The folder holds ``lancedb/``, ``chroma/`` and ``manifest.json``, which says what the hosts
should hold. What they do hold is read from themselves, so that a run that was interrupted
resumes where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from energy_plugin._lazy import optional
from energy_plugin.errors import InvalidInputError, NotBuiltError
from energy_plugin.evaluation.reference_docs import ReferenceDoc, corpus_hash

if TYPE_CHECKING:
    from energy_chroma import EnergyCollection
    from energy_lancedb import EnergyTable

    from energy_plugin.optical import OpticalEncoder

FORMAT_VERSION = 2  # 2: words beside the vectors
NAME = "reference"
ENCODER = "compact"
_BATCH = 256  # documents embedded between two commits
_FIELDS = ("name", "kind", "module", "package", "text")


@dataclass(frozen=True)
class Manifest:
    """What the hosts of a demonstration hold, and what making it took.

    Attributes
    ----------
    documents : int
        Number of documents.
    source : str
        What they were collected from; the same source gives the same documents.
    corpus : str
        Hash of their names and texts.
    fingerprint : str
        The encoder that embedded them.
    complete : bool
        Everything is stored and both energy fields are built.
    seconds : mapping of str to float
        Wall time of each step (s): of storing, summed over interrupted runs; of building,
        the last one.
    """

    documents: int
    source: str
    corpus: str
    fingerprint: str
    complete: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def same_documents(self, other: Manifest) -> bool:
        """Tell whether two demonstrations hold the same vectors of the same documents."""
        return (self.corpus, self.fingerprint) == (other.corpus, other.fingerprint)

    def took(self, step: str, seconds: float) -> Manifest:
        """Give the manifest with the time of a step: storing adds up, building starts over."""
        before = self.seconds.get(step, 0.0) if step.startswith("store ") else 0.0
        return replace(self, seconds={**self.seconds, step: before + seconds})


class DemoStore:
    """Both hosts of a demonstration.

    Parameters
    ----------
    folder : Path
        Made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest_path = folder / "manifest.json"
        self._lance: Any = None
        self._chroma: Any = None

    # -- what is there

    def manifest(self) -> Manifest | None:
        """Read the manifest; None where there is none that this version understands."""
        try:
            values = json.loads(self._manifest_path.read_text(encoding="utf-8"))
            manifest = Manifest(**values)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return manifest if manifest.format_version == FORMAT_VERSION else None

    def is_complete(self) -> bool:
        """Tell whether both hosts hold every document and an energy field."""
        manifest = self.manifest()
        if manifest is None or not manifest.complete:
            return False
        table, collection = self.table(), self.collection()
        return (
            table is not None
            and collection is not None
            and table.count_rows() == manifest.documents == collection.count()
        )

    def require_complete(self) -> Manifest:
        """Give the manifest of a finished demonstration.

        Raises
        ------
        NotBuiltError
            Nothing is stored yet, or a run was interrupted.
        """
        manifest = self.manifest()
        if manifest is None or not self.is_complete():
            raise NotBuiltError(
                f"There is no finished demonstration in {self.folder}. "
                f"Create it with: energy-plugin demo --folder {self.folder}"
            )
        return manifest

    def table(self) -> Any | None:
        """Open the LanceDB table; None where it does not exist."""
        import energy_lancedb  # noqa: F401 - registers the embedding function

        if self._lance is None:
            self._lance = optional("lancedb", "lancedb").connect(str(self.folder / "lancedb"))
        names = self._lance.list_tables().tables
        return self._lance.open_table(NAME) if NAME in names else None

    def collection(self) -> Any | None:
        """Open the Chroma collection; None where it does not exist."""
        import energy_chroma  # noqa: F401 - registers the embedding function

        if self._chroma is None:
            chromadb = optional("chromadb", "chroma")
            settings = chromadb.config.Settings(anonymized_telemetry=False)
            self._chroma = chromadb.PersistentClient(str(self.folder / "chroma"), settings)
        try:
            return self._chroma.get_collection(NAME)
        except (ValueError, optional("chromadb.errors", "chroma").NotFoundError):
            return None

    def energy_table(self) -> EnergyTable:
        """Give the LanceDB table with energy ranking."""
        from energy_lancedb import EnergyTable

        return EnergyTable(self.table())

    def energy_collection(self) -> EnergyCollection:
        """Give the Chroma collection with energy ranking."""
        from energy_chroma import EnergyCollection

        collection = self.collection()
        if collection is None:
            raise NotBuiltError(f"There is no collection {NAME!r} in {self.folder / 'chroma'}.")
        return EnergyCollection(collection)

    def content(self) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
        """Names, texts and vectors of shape (n, d) of the stored documents."""
        table: Any = self.table()
        rows = table.to_arrow().select(["name", "text", "vector"])
        flat = rows["vector"].combine_chunks().flatten().to_numpy()
        matrix = flat.reshape(len(rows), -1).astype(np.float32, copy=False)
        return rows["name"].to_pylist(), rows["text"].to_pylist(), matrix

    def row_bytes(self) -> dict[str, float]:
        """Bytes that the energy columns take for each row, by host.

        In Chroma ids are included; base64 adds a third on disk.
        """
        info = self.energy_collection().info()
        return {
            "LanceDB": self.energy_table().info().row_bytes,
            "Chroma": info.column_bytes / info.rows,
        }

    # -- making it

    def fill(
        self,
        docs: Sequence[ReferenceDoc],
        source: str,
        encoder: OpticalEncoder,
        *,
        show_progress_bar: bool = False,
    ) -> Manifest:
        """Store what is missing of `docs` in both hosts and build their energy fields.

        Parameters
        ----------
        docs : sequence of ReferenceDoc
        source : str
            What they were collected from.
        encoder : OpticalEncoder
        show_progress_bar : bool
        """
        wanted = Manifest(len(docs), source, corpus_hash(docs), encoder.fingerprint)
        present = self.manifest()
        if present is not None and wanted.same_documents(present):
            wanted = replace(wanted, seconds=present.seconds)
        else:
            self._clear()
        self._write(wanted)
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("store LanceDB", lambda: self._fill_table(docs, encoder, show_progress_bar)),
            ("store Chroma", lambda: self._fill_collection(docs, show_progress_bar)),
            (
                "build LanceDB",
                lambda: _build(self.energy_table(), show_progress_bar),
            ),
            (
                "build Chroma",
                lambda: _build(self.energy_collection(), show_progress_bar, lexical=True),
            ),
            ("words LanceDB", self._index_words),
        )
        for step, work in steps:
            start = time.perf_counter()
            try:
                work()
            finally:
                wanted = wanted.took(step, time.perf_counter() - start)
                self._write(wanted)
        wanted = replace(wanted, complete=True)
        self._write(wanted)
        return wanted

    def _write(self, manifest: Manifest) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self._manifest_path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(manifest), indent=2), encoding="utf-8")
        draft.replace(self._manifest_path)

    def _clear(self) -> None:
        """Remove an older demonstration, and nothing that is not one.

        A manifest of no documents marks the folder as ours before a database is opened in it:
        a run that is interrupted here starts over.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise InvalidInputError(f"{self.folder} is a file. Give another --folder.")
        present = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        ours = {"lancedb", "chroma", "manifest.json", "manifest.draft"}
        if "manifest.json" not in present:
            ours = {"manifest.draft"}
        if present - ours:
            raise InvalidInputError(
                f"{self.folder} holds {', '.join(sorted(present))}, which is not a demonstration. "
                "Give an empty or new --folder."
            )
        self._write(Manifest(documents=0, source="", corpus="", fingerprint=""))
        self.table()
        self.collection()
        self._lance.drop_all_tables()
        for collection in self._chroma.list_collections():
            self._chroma.delete_collection(collection.name)

    def _fill_table(
        self, docs: Sequence[ReferenceDoc], encoder: OpticalEncoder, bars: bool
    ) -> None:
        import pyarrow as pa
        from energy_lancedb import optical
        from lancedb.embeddings import EmbeddingFunctionConfig

        vector = pa.field("vector", pa.list_(pa.float32(), encoder.dim))
        schema = pa.schema([*(pa.field(name, pa.string()) for name in _FIELDS), vector])
        table = self.table()
        if table is None:
            function = EmbeddingFunctionConfig(
                source_column="text", vector_column="vector", function=optical(ENCODER)
            )
            table = self._lance.create_table(NAME, schema=schema, embedding_functions=[function])
        stored = set(table.search().select(["name"]).to_arrow()["name"].to_pylist())
        missing = [doc for doc in docs if doc.name not in stored]
        with _bar("embedding", len(docs), len(stored), bars) as bar:
            for batch in _batches(missing, _BATCH):
                vectors = encoder.encode_document([doc.text for doc in batch])
                columns = [pa.array([getattr(doc, name) for doc in batch]) for name in _FIELDS]
                flat = pa.array(vectors.astype(np.float32).ravel())
                columns.append(pa.FixedSizeListArray.from_arrays(flat, encoder.dim))
                table.add(pa.Table.from_arrays(columns, names=schema.names))
                bar.update(len(batch))

    def _fill_collection(self, docs: Sequence[ReferenceDoc], bars: bool) -> None:
        from energy_chroma import OpticalEmbeddingFunction

        collection = self.collection()
        if collection is None:
            collection = self._chroma.create_collection(
                NAME, embedding_function=OpticalEmbeddingFunction(ENCODER)
            )
        stored = set(collection.get(include=[])["ids"])
        missing = [doc for doc in docs if doc.name not in stored]
        vectors = self._stored_vectors() if missing else {}
        with _bar("Chroma", len(docs), len(stored), bars) as bar:
            for batch in _batches(missing, 4 * _BATCH):
                collection.add(
                    ids=[doc.name for doc in batch],
                    embeddings=[vectors[doc.name] for doc in batch],
                    documents=[doc.text for doc in batch],
                    metadatas=[
                        {"kind": doc.kind, "module": doc.module, "package": doc.package}
                        for doc in batch
                    ],
                )
                bar.update(len(batch))

    def _index_words(self) -> None:
        from lancedb.index import FTS

        self.energy_table().create_index("text", config=FTS(), replace=True)

    def _stored_vectors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Vectors that LanceDB holds, so that no text is embedded twice."""
        names, _, matrix = self.content()
        return dict(zip(names, matrix, strict=True))


def _build(energy: Any, bars: bool, **options: Any) -> None:
    energy.build(show_progress_bar=bars, **options)


def _batches(items: Sequence[ReferenceDoc], size: int) -> Iterator[Sequence[ReferenceDoc]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _bar(name: str, total: int, done: int, shown: bool) -> Any:
    return tqdm(total=total, initial=done, desc=name, unit="doc", disable=not shown)
