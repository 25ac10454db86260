"""Energy ranking over a Chroma server: the synchronous and the asynchronous client.

Start a server, then run the example:

    chroma run --path store
    python examples/chroma_server.py [host] [port]

The server needs nothing of energy-plugin: it stores, the clients rank.
"""

import asyncio
import sys

import chromadb
from energy_chroma import (
    AsyncEnergyCollection,
    EnergyCollection,
    EnergyReranker,
    OpticalEmbeddingFunction,
)

REPORTS = [
    "The pump of the cooling circuit vibrates above 1500 turns a minute.",
    "A valve in the steam line leaks when it is closed slowly.",
    "Bearings of the fan were replaced after 9000 hours.",
    "The pressure gauge of the boiler shows too little.",
    "Oil in the gearbox was found to hold splinters of metal.",
    "Water drips from the heat exchanger into the cellar.",
    "The motor of the conveyor belt draws too much current.",
    "A sensor reports wrong temperatures after a power cut.",
    "Noise in the gearbox at low speed, none at high speed.",
    "Filters of the air intake are clogged by dust.",
]
QUESTIONS = ["something is wrong with the gearbox", "leaking water"]


def write(host: str, port: int) -> None:
    """One client fills the collection and builds its energy field."""
    client = chromadb.HttpClient(host, port)
    reports = client.get_or_create_collection(
        "reports", embedding_function=OpticalEmbeddingFunction()
    )
    reports.upsert(ids=[f"report-{i}" for i in range(len(REPORTS))], documents=REPORTS)
    EnergyCollection(reports).build()

    # Chroma's own query, put into energy order
    found = reports.query(query_texts=QUESTIONS, n_results=8)
    show("reranked", EnergyReranker(reports).rerank(found, QUESTIONS, n_results=2))


async def ask(host: str, port: int) -> None:
    """Another one, as in a web service, asks several questions at once."""
    client = await chromadb.AsyncHttpClient(host, port)
    energy = AsyncEnergyCollection(await client.get_collection("reports"))
    answers = await asyncio.gather(
        *(energy.query(query_texts=[question], n_results=2) for question in QUESTIONS)
    )
    for answer in answers:
        show("awaited", answer)


def show(way: str, result: chromadb.QueryResult) -> None:
    """Print distances and documents."""
    for distances, texts in zip(result["distances"], result["documents"], strict=True):
        for distance, text in zip(distances, texts, strict=True):
            print(f"{way}  {distance:.3f}  {text}")
        print()


if __name__ == "__main__":
    place = sys.argv[1] if sys.argv[1:] else "localhost"
    number = int(sys.argv[2]) if sys.argv[2:] else 8000
    write(place, number)
    asyncio.run(ask(place, number))
