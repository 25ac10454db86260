"""Collections that the Chroma tests share."""

import zlib

import chromadb
import numpy as np
from chromadb.api.types import EmbeddingFunction
from chromadb.utils.embedding_functions import register_embedding_function
from energy_chroma import EnergyCollection

DIM = 24
WORDS = ("wing", "drag", "shock", "layer", "nozzle", "heat", "lens", "bone", "blood", "serum")


@register_embedding_function
class GramEmbedding(EmbeddingFunction):
    """Hashed character trigrams, 64 dimensions."""

    def __init__(self, size=3):
        self.size = size

    def __call__(self, input):
        return [self._vector(text) for text in input]

    def _vector(self, text):
        vector = np.zeros(64, dtype=np.float32)
        for start in range(len(text) - self.size + 1):
            gram = text[start : start + self.size].encode()
            vector[zlib.crc32(gram) % 64] += 1
        return vector / max(float(np.linalg.norm(vector)), 1.0)

    @staticmethod
    def name():
        return "test_grams"

    def get_config(self):
        return {"size": self.size}

    @staticmethod
    def build_from_config(config):
        return GramEmbedding(**config)


def vectors(n, seed=0, clusters=8, dim=DIM):
    """Clustered unit vectors, (n, dim) float32."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, dim))
    rows = centres[rng.integers(clusters, size=n)] + 0.6 * rng.normal(size=(n, dim)) + 0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=6)) for _ in range(n)]


def client(path):
    return chromadb.PersistentClient(str(path))


def create(where, n=300, name="docs", space="cosine"):
    """A collection of n rows r0, r1, … with vectors(n), a document and {"n": i, "even": bool}."""
    made = where.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": space}}
    )
    for start in range(0, n, 5000):
        part = range(start, min(n, start + 5000))
        made.add(
            ids=[f"r{i}" for i in part],
            embeddings=vectors(n)[part.start : part.stop],
            documents=[f"document {i} {'even' if i % 2 == 0 else 'odd'}" for i in part],
            metadatas=[{"n": i, "even": i % 2 == 0} for i in part],
        )
    return made


def stored(made):
    """The vectors as Chroma returns them, in its order."""
    got = made.get(include=["embeddings"])
    return got["ids"], np.asarray(got["embeddings"], dtype=np.float32)


def companion(energy):
    """The collection in which a field is stored."""
    return energy._keeper.host.companion()


def answer(made, **filters):
    """Ids and distances of four queries by energy, through an object of its own."""
    asked = {"query_embeddings": vectors(4, seed=1), "include": ["distances"]}
    got = EnergyCollection(made).query(**asked, **filters)
    return got["ids"], got["distances"]


def worn(client):
    """300 rows left of 600; the graph has few edges, and updates have cut some of them."""
    few_edges = {"hnsw": {"max_neighbors": 4, "ef_construction": 8, "ef_search": 10}}
    made = client.create_collection("worn", configuration=few_edges)
    rows, ids = vectors(600, dim=16), [f"r{i}" for i in range(600)]
    made.add(ids=ids, embeddings=rows)
    rng = np.random.default_rng(0)
    gone = rng.permutation(600)[:300]
    made.delete(ids=[ids[i] for i in gone])
    live = np.setdiff1d(np.arange(600), gone)
    moved = rng.permutation(live)[:90]
    rows[moved] = vectors(90, seed=5, dim=16)
    made.upsert(ids=[ids[i] for i in moved], embeddings=rows[moved])
    return made, [ids[i] for i in live], rows[live]
