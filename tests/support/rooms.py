"""Hosts as the contract sees them: rows by number, changed with the plugin and behind its back."""

import contextlib
import json
import runpy
import sqlite3
from pathlib import Path

import chromadb
import lance
import lancedb
import numpy as np
import pyarrow as pa
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable
from lancedb.embeddings import EmbeddingFunctionConfig

from energy_plugin.stored import HostedField
from energy_plugin.stored.moments import Moment, reached, watching
from support.chroma_cases import GramEmbedding
from support.lancedb_data import ngrams

EXAMPLE = Path(__file__).parents[2] / "examples" / "sqlite_adapter.py"
WORDS = ("wing", "heart", "court", "river", "metal", "music", "stone", "bread")

N = 60  # rows of a room


class CrashError(Exception):
    """Stands for the end of a process."""


def text_of(number):
    words = np.random.default_rng(number).choice(WORDS, 5)
    return f"{WORDS[number % len(WORDS)]} {' '.join(words)} {number}"


def when(number):
    """A day, the later the higher the number."""
    return str(np.datetime64("2025-01-01") + number)


@contextlib.contextmanager
def failing(at):
    """Let the write number `at` (from 0 on) fail before it is done; yields a list of the writes."""
    written = []

    def count(moment):
        if moment is Moment.WRITING:
            if len(written) == at:
                raise CrashError
            written.append(moment)

    with watching(count):
        yield written


class LanceRoom:
    """A LanceDB table."""

    layout = "columns"

    def __init__(self, folder):
        self.folder, self.name = folder, "pages"
        kinds = [("id", pa.string()), ("text", pa.string()), ("n", pa.int32())]
        schema = pa.schema([*kinds, ("seen", pa.string()), ("vector", pa.list_(pa.float32(), 48))])
        self.function = ngrams()
        config = EmbeddingFunctionConfig(
            source_column="text", vector_column="vector", function=self.function
        )
        lancedb.connect(folder).create_table(self.name, schema=schema, embedding_functions=[config])

    def table(self):
        return lancedb.connect(self.folder).open_table(self.name)

    def open(self):
        return EnergyTable(self.table())

    def build(self, energy, config=None):
        return energy.build(config, layout=self.layout)

    def vector(self, text):
        return self.function.embed(text)

    def _rows(self, numbers):
        return [{"id": f"r{i}", "text": text_of(i), "n": i, "seen": when(i)} for i in numbers]

    def add(self, energy, numbers):
        energy.add(self._rows(numbers))

    def add_behind(self, numbers):
        self.table().add(self._rows(numbers))

    def change_behind(self, number, vector):
        self.table().update(where=f"n = {number}", values={"vector": vector.tolist()})

    def delete_behind(self, numbers):
        self.table().delete(f"n IN ({', '.join(map(str, numbers))})")

    def count(self):
        return self.table().count_rows()

    def search(self, energy, vector, k, most=None):
        asked = energy.search(vector).select(["id"]).limit(k)
        if most is not None:
            asked = asked.where(f"n <= {most}")
        return [(row["id"], row["_distance"]) for row in asked.to_list()]

    def damage(self):
        """Alter the field's bytes, in every version of its table."""
        table = lancedb.connect(self.folder).open_table(f"{self.name}__energy")
        row = table.to_arrow().to_pylist()[0]
        table.update(where="true", values={"data": row["data"][:-1] + b"?"})
        with contextlib.suppress(Exception):
            from datetime import timedelta

            table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)

    def give_to_another_embedder(self):
        dataset, key = self.table().to_lance(), "energy:pointer"
        beside = self.layout == "companion"
        stored = dataset.metadata[key] if beside else self._entry("energy_residual", key)
        pointer = json.dumps({**json.loads(stored), "embedder": "0" * 32})
        if beside:
            dataset.update_metadata({key: pointer})
        else:
            path = {"path": "energy_residual", "metadata": {key: pointer}}
            self.table().update_field_metadata(path)

    def _entry(self, column, key):
        return self.table().schema.field(column).metadata[key.encode()]

    def rename(self):
        """As a move of its folder, which is what LanceDB OSS has for it."""
        (self.folder / f"{self.name}.lance").rename(self.folder / "papers.lance")
        self.name = "papers"

    def writes(self):
        """Methods of LanceDB that write, by class and name."""
        table, connection = lancedb.table.LanceTable, lancedb.db.LanceDBConnection
        names = ("add", "delete", "update_field_metadata", "alter_columns", "drop_columns")
        return [
            *((table, name) for name in (*names, "create_index", "optimize")),
            (connection, "create_table"),
            (lance.LanceDataset, "commit"),
        ]


class LanceBesideRoom(LanceRoom):
    """A LanceDB table whose columns stand in another one."""

    layout = "companion"


class ChromaRoom:
    """A Chroma collection in a folder."""

    def __init__(self, folder):
        self.folder, self.name = folder, "docs"
        self.function = GramEmbedding()
        self.client().create_collection(self.name, embedding_function=self.function)

    def client(self):
        return chromadb.PersistentClient(str(self.folder))

    def collection(self):
        return self.client().get_collection(self.name)

    def open(self):
        return EnergyCollection(self.collection())

    def build(self, energy, config=None):
        return energy.build(config)

    def vector(self, text):
        return self.function([text])[0]

    def _rows(self, numbers):
        return {
            "ids": [f"r{i}" for i in numbers],
            "documents": [text_of(i) for i in numbers],
            "metadatas": [{"n": i, "seen": when(i)} for i in numbers],
        }

    def add(self, energy, numbers):
        energy.add(**self._rows(numbers))

    def add_behind(self, numbers):
        self.collection().add(**self._rows(numbers))

    def change_behind(self, number, vector):
        self.collection().update(ids=[f"r{number}"], embeddings=[vector])

    def delete_behind(self, numbers):
        self.collection().delete(ids=[f"r{i}" for i in numbers])

    def count(self):
        return self.collection().count()

    def search(self, energy, vector, k, most=None):
        where = None if most is None else {"n": {"$lte": most}}
        found = energy.query(
            query_embeddings=[vector], n_results=k, where=where, include=["distances"]
        )
        return list(zip(found["ids"][0], found["distances"][0], strict=True))

    def _companion(self):
        return self.client().get_collection(f"energy-{self.collection().id}")

    def damage(self):
        companion = self._companion()
        generation = companion.metadata["generation"]
        companion.update(ids=[f"{generation}/field/0"], metadatas=[{"data": "AAAA"}])

    def give_to_another_embedder(self):
        companion = self._companion()
        other = json.dumps({"name": "other", "config": {}})
        companion.modify(metadata={**companion.metadata, "embedder": other})

    def rename(self):
        self.collection().modify(name="papers")
        self.name = "papers"

    def writes(self):
        """Methods of Chroma that write, by class and name."""
        server = type(self.client()._server)
        names = ("_add", "_upsert", "_update", "_delete", "_modify", "create_collection")
        return [(server, name) for name in names]


class ChromaServerRoom(ChromaRoom):
    """A collection of a Chroma server."""

    def __init__(self, server):
        self.server = server
        super().__init__(server.folder)
        self.name = "docs"

    def client(self):
        return self.server.client()


class Counted(sqlite3.Connection):
    """A connection that says when it writes."""

    def execute(self, query, *args):
        if query.startswith(("INSERT", "UPDATE", "DELETE", "ALTER", "CREATE", "DROP")):
            reached(Moment.WRITING)
        return super().execute(query, *args)


class SqliteRoom:
    """The example of a host of one's own."""

    def __init__(self, folder):
        self.file, self.name = folder / "notes.db", "notes"
        self.kind = runpy.run_path(str(EXAMPLE))["SqliteTable"]
        self.function = ngrams()
        kinds = "id TEXT PRIMARY KEY, text TEXT, n INTEGER, seen TEXT, vector BLOB"
        self.connection().execute(f"CREATE TABLE notes ({kinds})")

    def connection(self):
        return sqlite3.connect(self.file, isolation_level=None, factory=Counted)

    def open(self, embedder="ngrams"):
        return HostedField(self.kind(self.connection(), self.name, self.vector, embedder))

    def build(self, energy, config=None):
        return energy.build(config)

    def vector(self, text):
        return self.function.embed(text)

    def add(self, energy, numbers):
        self.add_behind(numbers)
        energy.refresh()

    def add_behind(self, numbers):
        rows = [
            (f"r{i}", text_of(i), i, when(i), self.vector(text_of(i)).tobytes()) for i in numbers
        ]
        names = "id, text, n, seen, vector"
        query = f"INSERT INTO {self.name} ({names}) VALUES (?, ?, ?, ?, ?)"
        self.connection().executemany(query, rows)

    def change_behind(self, number, vector):
        query = f"UPDATE {self.name} SET vector = ? WHERE n = ?"
        self.connection().execute(query, (vector.tobytes(), number))

    def delete_behind(self, numbers):
        some = ", ".join(map(str, numbers))
        self.connection().execute(f"DELETE FROM {self.name} WHERE n IN ({some})")

    def count(self):
        return self.connection().execute(f"SELECT count(*) FROM {self.name}").fetchone()[0]

    def search(self, energy, vector, k, most=None):
        where = None if most is None else f"n <= {most}"
        return [(hit.id, hit.distance) for hit in energy.search(vector, k, where=where)]

    def _mark(self):
        return self.kind(self.connection(), self.name, None)._mark()

    def damage(self):
        connection, mark = self.connection(), self._mark()
        (blob,) = connection.execute(f"SELECT field FROM {mark}").fetchone()
        connection.execute(f"UPDATE {mark} SET field = ?", (blob[:-1] + b"?",))

    def give_to_another_embedder(self):
        self.connection().execute(f"UPDATE {self._mark()} SET embedder = 'other'")

    def rename(self):
        self.connection().execute(f"ALTER TABLE {self.name} RENAME TO papers")
        self.name = "papers"

    def writes(self):
        """Each statement announces itself."""
        return []
