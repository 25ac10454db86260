"""Energy ranking in LlamaIndex: nodes in a LanceDB table, hits reordered on its field.

Run with ``python examples/llamaindex_rerank.py [folder]``. Without a folder nothing is kept.
Needs ``pip install -e ".[lancedb,llamaindex]" llama-index-vector-stores-lancedb``.
"""

import sys
import tempfile

import lancedb
from energy_lancedb import EnergyTable
from energy_llamaindex import EnergyPostprocessor, OpticalEmbedding
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.vector_stores.lancedb import LanceDBVectorStore

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


def ask(folder: str) -> None:
    """Fill an index, build the field of its table, ask."""
    embedding = OpticalEmbedding()
    store = LanceDBVectorStore(uri=folder, table_name="notes", mode="overwrite")
    index = VectorStoreIndex(
        [TextNode(id_=name, text=text) for name, text in NOTES.items()],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embedding,
    )
    energy = EnergyTable(lancedb.connect(folder).open_table("notes")).build()

    question = "cells in the blood"
    found = index.as_retriever(similarity_top_k=8).retrieve(question)
    ranker = EnergyPostprocessor(host=energy, embed_model=embedding, top_n=3)
    for hit in ranker.postprocess_nodes(found, query_str=question):
        print(f"{hit.score:.3f}  {hit.node.node_id:15} {hit.node.get_content()}")


def main() -> None:
    """Keep the table where a folder is given."""
    if sys.argv[1:]:
        ask(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            ask(folder)


if __name__ == "__main__":
    main()
