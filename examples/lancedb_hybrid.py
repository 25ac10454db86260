"""LanceDB's vector, full-text and hybrid search beside the same searches reranked by energy.

Run with ``python examples/lancedb_hybrid.py [folder]``. Without a folder nothing is kept.
"""

import sys
import tempfile

import lancedb
from energy_lancedb import EnergyReranker, EnergyTable, optical
from lancedb.index import FTS
from lancedb.pydantic import LanceModel, Vector
from lancedb.rerankers import RRFReranker

NOTES = [
    "The shock wave in front of a blunt body at supersonic speed.",
    "Measuring the drag of a model in a supersonic wind tunnel.",
    "Heat transfer from a flat plate to a laminar boundary layer.",
    "Heat transfer to a blunt nose in a hypersonic stream.",
    "Flutter of a swept wing and the damping of its vibrations.",
    "Flow of a hot gas through a supersonic nozzle.",
    "Lift and drag of a slender wing at a high angle of attack.",
    "The boundary layer on a rotating disc.",
    "Counting white blood cells in patients with an infection.",
    "How the kidney filters blood and returns salt to it.",
    "Oxygen in the blood of a diver at great depth.",
    "Proteins of the crystalline lens of the eye in young and old age.",
    "A compiler that translates arithmetic expressions in one pass.",
    "Sorting a long file on tape with few passes over the data.",
    "Automatic indexing of scientific documents by their words.",
    "Retrieval of documents by the citations that they share.",
]
QUESTION = "heat transfer to a body at supersonic speed"


def show(name, rows):
    """Print the texts of an answer."""
    print(name)
    for row in rows:
        print(f"  {row['text']}")


def main(folder: str) -> None:
    """Ask one question in every way LanceDB has."""
    function = optical()

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(folder).create_table("notes", schema=Note, mode="overwrite")
    table.add([{"text": text} for text in NOTES])
    table.create_index("text", config=FTS())

    vector = table.search(QUESTION).distance_type("cosine")
    show("vector", vector.limit(3).to_list())
    show("full text", table.search(QUESTION, query_type="fts").limit(3).to_list())
    hybrid = table.search(QUESTION, query_type="hybrid")
    show("hybrid, reciprocal ranks", hybrid.rerank(RRFReranker()).limit(3).to_list())

    # without a field: the candidates and the question form a graph of their own
    alone = EnergyReranker(table, top_k=3)
    show("hybrid, energy of the candidates", hybrid.rerank(alone).limit(10).to_list())

    EnergyTable(table).build()  # from here on the reranker uses the field of the table
    hybrid = table.search(QUESTION, query_type="hybrid")
    show("hybrid, energy of the field", hybrid.rerank(alone).limit(10).to_list())

    # two wordings of one question, each with its own candidates
    searches = [table.search(q).with_row_id(True).limit(8) for q in (QUESTION, "hot fast flow")]
    found = alone.rerank_multivector(searches, QUESTION).to_pylist()
    show("two wordings, energy of the field", found)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
