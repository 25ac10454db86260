"""Energy ranking in Haystack: a pipeline of embedder, retriever and ranker.

Run with ``python examples/haystack_rerank.py``. Nothing is kept.
Needs ``pip install -e ".[haystack]"``: without a database the documents that the
retriever found are ranked by their own graph. With ``host=`` a Chroma collection or LanceDB
table lends its vectors and its field.
"""

from energy_haystack import EnergyRanker, OpticalDocumentEmbedder, OpticalTextEmbedder
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

NOTES = [
    "Heat transfer from a flat plate to a laminar boundary layer.",
    "The shock wave in front of a blunt body at supersonic speed.",
    "Flutter of a swept wing and the damping of its vibrations.",
    "Measuring the drag of a model in a supersonic wind tunnel.",
    "Proteins of the crystalline lens of the eye in young and old age.",
    "Counting white blood cells in patients with an infection.",
    "How the kidney filters blood and returns salt to it.",
    "A compiler that translates arithmetic expressions in one pass.",
    "Sorting a long file on tape with few passes over the data.",
    "Automatic indexing of scientific documents by their words.",
]


def main() -> None:
    """Fill a store, build a pipeline, ask it, store it and ask again."""
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    written = OpticalDocumentEmbedder().run([Document(content=text) for text in NOTES])
    store.write_documents(written["documents"])

    pipeline = Pipeline()
    pipeline.add_component("embedder", OpticalTextEmbedder())
    pipeline.add_component(
        "retriever", InMemoryEmbeddingRetriever(store, top_k=8, return_embedding=True)
    )
    pipeline.add_component("ranker", EnergyRanker(top_k=3))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("embedder.embedding", "ranker.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")

    question = "how the blood is filtered"
    answer = pipeline.run({"embedder": {"text": question}, "ranker": {"query": question}})
    for document in answer["ranker"]["documents"]:
        print(f"{document.score:.3f}  {document.content}")
    print(pipeline.to_dict()["components"]["ranker"]["type"])  # can be stored with the pipeline


if __name__ == "__main__":
    main()
