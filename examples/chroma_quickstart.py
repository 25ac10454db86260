"""Energy ranking in Chroma: text in, energy field built, queries answered.

Run with ``python examples/chroma_quickstart.py [folder]``. Without a folder nothing is kept.
"""

import sys

import chromadb
from energy_chroma import EnergyCollection, OpticalEmbeddingFunction

DOCUMENTS = {
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
    """Build a collection, then ask it."""
    client = chromadb.PersistentClient(sys.argv[1]) if sys.argv[1:] else chromadb.EphemeralClient()

    docs = client.get_or_create_collection("docs", embedding_function=OpticalEmbeddingFunction())
    docs.upsert(
        ids=list(DOCUMENTS),
        documents=list(DOCUMENTS.values()),
        metadatas=[{"words": len(text.split())} for text in DOCUMENTS.values()],
    )

    energy = EnergyCollection(docs).build()  # writes the energy columns into Chroma
    energy.add(ids=["nozzle"], documents=["Flow of a hot gas through a supersonic nozzle."])

    found = energy.query(
        query_texts=["supersonic flow of a gas", "cells in the blood"],
        n_results=3,
        where={"energy_lambda": {"$gt": 0.0}},  # the columns are metadata of each row
        include=["documents", "distances", "energies"],
    )
    for ids, distances, texts in zip(
        found["ids"], found["distances"], found["documents"], strict=True
    ):
        for name, distance, text in zip(ids, distances, texts, strict=True):
            print(f"{distance:.3f}  {name:15} {text}")
        print()


if __name__ == "__main__":
    main()
