"""A small collection and a real embedding function for the LanceDB tests."""

import zlib

import numpy as np
import pyarrow as pa
from lancedb.embeddings import TextEmbeddingFunction, get_registry, register

DIM = 48
TOPICS = ("wing", "heart", "court", "river", "metal", "music")
WORDS = ("slow", "bright", "old", "narrow", "heavy", "quiet", "early", "broken", "plain", "rapid")


@register("test-ngrams")
class NgramFunction(TextEmbeddingFunction):
    """Counts of hashed character trigrams, unit length."""

    dim: int = DIM
    salt: int = 0
    max_retries: int = 0

    def ndims(self):
        return self.dim

    def generate_embeddings(self, texts, *args, **kwargs):
        return [self.embed(text) for text in texts]

    def embed(self, text):
        counts = np.zeros(self.dim, dtype=np.float32)
        padded = f"  {text.lower()} "
        for i in range(len(padded) - 2):
            counts[(zlib.crc32(padded[i : i + 3].encode()) + self.salt) % self.dim] += 1
        return counts / np.linalg.norm(counts)


def ngrams(**arguments):
    return get_registry().get("test-ngrams").create(**{"dim": DIM, "salt": 0, **arguments})


def text_of(i):
    words = np.random.default_rng(i).choice(WORDS, 4)
    topic = TOPICS[i % len(TOPICS)]
    return f"{topic} {words[0]} {topic} {words[1]} {topic} {words[2]} {words[3]} {i}"


def rows_of(n, start=0):
    """Dictionaries without vectors: the table's embedding function adds them."""
    return [
        {"id": i, "text": text_of(i), "year": 2000 + i % 25, "topic": TOPICS[i % len(TOPICS)]}
        for i in range(start, start + n)
    ]


def embed(texts):
    function = ngrams()
    return np.stack([function.embed(text) for text in texts])


def plain_rows(n, start=0):
    """Dictionaries with vectors."""
    rows = rows_of(n, start)
    vectors = embed([row["text"] for row in rows])
    return [{**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)]


def vectors_of(table, column="vector"):
    """Ids and vectors as the table holds them."""
    found = table.search().select(["id", column]).to_arrow()
    matrix = np.stack(found[column].to_numpy(zero_copy_only=False)).astype(np.float32)
    return found["id"].to_numpy(), matrix


def text_schema(function):
    from lancedb.pydantic import LanceModel, Vector

    class Page(LanceModel):
        id: int
        text: str = function.SourceField()
        year: int
        topic: str
        vector: Vector(function.ndims()) = function.VectorField()

    return Page


def plain_schema(dim=DIM):
    return pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("text", pa.string()),
            pa.field("year", pa.int64()),
            pa.field("topic", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), dim)),
        ]
    )


N = 100
ENERGY = ["energy_lambda", "energy_dispersion", "energy_cell", "energy_residual"]


def hits(energy, text="heart plain heart", k=10):
    return energy.search(text).select(["id"]).limit(k).to_arrow().to_pylist()


def names(database):
    return sorted(database.list_tables().tables)
