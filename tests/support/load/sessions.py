"""One store under load, by the same few calls on every host.

A row is a number, a stamp, and the vector that both together stand for: a hit whose stamp and
vector do not belong together is half written, and a row's own vector must find it.
"""

import chromadb
import lancedb
import numpy as np
import pyarrow as pa
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyTable

DIM = 24
CLUSTERS = 12
_CENTRES = np.random.default_rng(99).normal(size=(CLUSTERS, DIM))


def vector_of(number, stamp=0):
    """The vector of a row, (DIM,) float32 of unit length."""
    rng = np.random.default_rng([number, stamp])
    vector = _CENTRES[rng.integers(CLUSTERS)] + 0.8 * rng.normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def vectors_of(rows):
    """Of ``{number: stamp}``."""
    return np.stack([vector_of(number, stamp) for number, stamp in rows.items()])


class ChromaSession:
    """An `EnergyCollection`, by a folder or the port of a server."""

    def __init__(self, place, *, create=False):
        client = (
            chromadb.HttpClient("127.0.0.1", place)
            if isinstance(place, int)
            else chromadb.PersistentClient(place)
        )
        if create:
            self.collection = client.create_collection("rows", embedding_function=None)
        else:
            self.collection = client.get_collection("rows")
        self.energy = EnergyCollection(self.collection)

    def build(self, config):
        self.energy.build(config)

    def add(self, rows):
        self.energy.add(**self._arguments(rows))

    def change(self, rows):
        self.energy.upsert(**self._arguments(rows))

    def delete(self, numbers):
        self.energy.delete(ids=[str(number) for number in numbers])

    def search(self, queries, k):
        """Of each query the hits: number, distance, stamp, vector."""
        include = ["distances", "metadatas", "embeddings"]
        got = self.energy.query(query_embeddings=queries, n_results=k, include=include)
        return [
            [
                (int(name), distance, metadata["stamp"], np.asarray(vector, dtype=np.float32))
                for name, distance, metadata, vector in zip(*one, strict=True)
            ]
            for one in zip(
                got["ids"], got["distances"], got["metadatas"], got["embeddings"], strict=True
            )
        ]

    def rows(self):
        """What the host itself holds, ``{number: stamp}``; every row is whole."""
        got = self.collection.get(include=["metadatas", "embeddings"])
        found = {}
        for name, metadata, vector in zip(
            got["ids"], got["metadatas"], got["embeddings"], strict=True
        ):
            found[int(name)] = metadata["stamp"]
            belongs(int(name), metadata["stamp"], np.asarray(vector, dtype=np.float32))
        return found

    @staticmethod
    def _arguments(rows):
        return {
            "ids": [str(number) for number in rows],
            "embeddings": vectors_of(rows),
            "metadatas": [{"stamp": stamp} for stamp in rows.values()],
        }


class LanceSession:
    """An `EnergyTable` on a folder."""

    LAYOUT = "columns"
    SCHEMA = pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("stamp", pa.int64()),
            pa.field("vector", pa.list_(pa.float32(), DIM)),
        ]
    )

    def __init__(self, place, *, create=False):
        database = lancedb.connect(place)
        if create:
            table = database.create_table("rows", schema=self.SCHEMA)
        else:
            table = database.open_table("rows")
        self.energy = EnergyTable(table, device="cpu")

    def build(self, config):
        self.energy.build(config, layout=self.LAYOUT)

    def add(self, rows):
        self.energy.add(self._arguments(rows))

    def change(self, rows):
        builder = self.energy.merge_insert("id").when_matched_update_all()
        builder.when_not_matched_insert_all().execute(self._arguments(rows))

    def delete(self, numbers):
        self.energy.delete(f"id IN ({', '.join(map(str, numbers))})")

    def search(self, queries, k):
        """Of each query the hits: number, distance, stamp, vector."""
        search = self.energy.search(np.stack(queries)).select(["id", "stamp", "vector"]).limit(k)
        hits = [[] for _ in queries]
        for row in search.to_list():
            vector = np.asarray(row["vector"], dtype=np.float32)
            hits[row["query_index"]].append((row["id"], row["_distance"], row["stamp"], vector))
        return hits

    def rows(self):
        """What the host itself holds, ``{number: stamp}``; every row is whole."""
        table = self.energy.table
        table.checkout_latest()
        found = {}
        for row in table.search().select(["id", "stamp", "vector"]).limit(None).to_list():
            assert row["id"] not in found, f"row {row['id']} stands there twice"
            found[row["id"]] = row["stamp"]
            belongs(row["id"], row["stamp"], np.asarray(row["vector"], dtype=np.float32))
        return found

    def _arguments(self, rows):
        columns = [list(rows), list(rows.values()), list(vectors_of(rows))]
        return pa.table(
            [pa.array(c, f.type) for c, f in zip(columns, self.SCHEMA, strict=True)],
            schema=self.SCHEMA,
        )


class CompanionSession(LanceSession):
    """The same with the columns in a table beside."""

    LAYOUT = "companion"


def belongs(number, stamp, vector):
    """Check that a row is whole."""
    expected = vector_of(number, stamp)
    assert np.allclose(vector, expected, atol=1e-6), f"row {number} is half written"


SESSIONS = {
    "chroma": ChromaSession,
    "lancedb": LanceSession,
    "lancedb companion": CompanionSession,
}
