"""Energy ranking in LanceDB: text in, energy columns added, questions answered.

Run with ``python examples/lancedb_quickstart.py [folder]``. Without a folder nothing is kept.
"""

import sys

import lancedb
from energy_lancedb import EnergyReranker, EnergyTable, optical
from lancedb.pydantic import LanceModel, Vector

NOTES = [
    (2015, "Heat transfer from a flat plate to a laminar boundary layer."),
    (2016, "The shock wave in front of a blunt body at supersonic speed."),
    (2017, "Flutter of a swept wing and the damping of its vibrations."),
    (2018, "Measuring the drag of a model in a supersonic wind tunnel."),
    (2019, "Proteins of the crystalline lens of the eye in young and old age."),
    (2020, "Counting white blood cells in patients with an infection."),
    (2021, "How the kidney filters blood and returns salt to it."),
    (2022, "A compiler that translates arithmetic expressions in one pass."),
    (2023, "Sorting a long file on tape with few passes over the data."),
    (2024, "Automatic indexing of scientific documents by their words."),
]


def main() -> None:
    """Fill a table, build its energy field, ask it."""
    database = lancedb.connect(sys.argv[1] if sys.argv[1:] else "memory://")
    function = optical()

    class Note(LanceModel):
        year: int
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = database.create_table("notes", schema=Note, mode="overwrite")
    table.add([{"year": year, "text": text} for year, text in NOTES])

    energy = EnergyTable(table).build()
    energy.add([{"year": 2025, "text": "Flow of a hot gas through a supersonic nozzle."}])

    for question in ("supersonic flow of a gas", "cells in the blood"):
        print(question)
        found = energy.search(question).where("year > 2015").limit(3)
        for note in found.select(["year", "text"]).to_list():
            print(f"  {note['_distance']:.3f}  {note['year']}  {note['text']}")

    # LanceDB's own search, reordered
    ranker = EnergyReranker(energy, top_k=1)
    best = table.search("a wing that vibrates").limit(5).rerank(ranker).to_pydantic(Note)
    print(f"a wing that vibrates\n  {best[0].text}")


if __name__ == "__main__":
    main()
