"""One small collection in Chroma and in LanceDB, and an embedding that counts its calls."""

import chromadb
import lancedb
import numpy as np

from support.lancedb_data import TOPICS, embed, ngrams, text_of, text_schema

N = 60
IDS = [str(i) for i in range(N)]
TEXTS = [text_of(i) for i in range(N)]
VECTORS = embed(TEXTS)
QUESTION = "quiet river under a narrow bridge"
QUERY = embed([QUESTION])[0]


def vector_of(text):
    return embed([text])[0]


def by_cosine(k, query=QUERY):
    """Positions of the first retriever's hits."""
    return np.argsort(-(VECTORS @ query), kind="stable")[:k]


def chroma(path, name="pages"):
    client = chromadb.PersistentClient(str(path))
    made = client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    made.add(
        ids=IDS,
        embeddings=VECTORS,
        documents=TEXTS,
        metadatas=[{"topic": TOPICS[i % len(TOPICS)], "year": 2000 + i % 25} for i in range(N)],
    )
    return client, made


def lance(path):
    """A table whose embedding function is that of `vector_of`; ids are numbers."""
    table = lancedb.connect(str(path)).create_table("pages", schema=text_schema(ngrams()))
    table.add(
        [
            {"id": i, "text": TEXTS[i], "year": 2000 + i % 25, "topic": TOPICS[i % len(TOPICS)]}
            for i in range(N)
        ]
    )
    return table


class Calls:
    """The embedding of the rows, remembering what it was asked."""

    def __init__(self):
        self.documents = []
        self.queries = []

    def of_documents(self, texts):
        self.documents += texts
        return [vector_of(text).tolist() for text in texts]

    def of_query(self, text):
        self.queries.append(text)
        return vector_of(text).tolist()
