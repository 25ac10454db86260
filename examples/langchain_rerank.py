"""Energy ranking in LangChain: a Chroma store, its hits reordered on the collection's field.

Run with ``python examples/langchain_rerank.py [folder]``. Without a folder nothing is kept.
Needs ``pip install -e ".[chroma,langchain]" langchain-chroma langchain-classic``.
"""

import sys

import chromadb
from energy_chroma import EnergyCollection
from energy_langchain import EnergyCompressor, EnergyRetriever, OpticalEmbeddings
from langchain_chroma import Chroma
from langchain_classic.retrievers import ContextualCompressionRetriever

NOTES = {
    "boundary-layer": "Heat transfer from a flat plate to a laminar boundary layer.",
    "shock-wave": "The shock wave in front of a blunt body at supersonic speed.",
    "wing-flutter": "Flutter of a swept wing and the damping of its vibrations.",
    "wind-tunnel": "Measuring the drag of a model in a supersonic wind tunnel.",
    "lens": "Proteins of the crystalline lens of the eye in young and old age.",
    "blood-cells": "Counting white blood cells in patients with an infection.",
    "kidney": "How the kidney filters blood and returns salt to it.",
    "compiler": "A compiler that translates arithmetic expressions in one pass.",
    "sorting": "Sorting a long file on tape with few passes over the data.",
    "indexing": "Automatic indexing of scientific documents by their words.",
}


def main() -> None:
    """Fill a store, build its energy field, ask it in two ways."""
    client = chromadb.PersistentClient(sys.argv[1]) if sys.argv[1:] else chromadb.EphemeralClient()
    embeddings = OpticalEmbeddings()
    store = Chroma(collection_name="notes", client=client, embedding_function=embeddings)
    store.add_texts(list(NOTES.values()), ids=list(NOTES))

    energy = EnergyCollection(client.get_collection("notes")).build()
    question = "supersonic flow around a body"

    # the store's own search, reordered
    retriever = ContextualCompressionRetriever(
        base_compressor=EnergyCompressor(host=energy, embeddings=embeddings, top_n=3),
        base_retriever=store.as_retriever(search_kwargs={"k": 8}),
    )
    for document in retriever.invoke(question):
        print(
            f"{document.metadata['relevance_score']:.3f}  {document.id:15} {document.page_content}"
        )

    # the collection's energy search, without a store between
    direct = EnergyRetriever(host=energy, k=1, embeddings=embeddings)
    print("first of all rows:", direct.invoke(question)[0].id)


if __name__ == "__main__":
    main()
