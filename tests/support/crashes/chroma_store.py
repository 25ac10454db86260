"""A Chroma collection for the crash matrix: its rows, its verbs, what a new process finds."""

import shutil
from datetime import datetime, timedelta, timezone

import chromadb
import numpy as np
from chromadb.errors import NotFoundError
from energy_chroma import EnergyCollection, recover

from energy_plugin.energy import EnergyConfig
from energy_plugin.errors import NotBuiltError
from support.chroma_cases import GramEmbedding, texts
from support.crashes.state import State, digest

ROWS, GROWN, WRITTEN = 240, 60, 40
VERBS = (
    "first build",
    "build",
    "add",
    "upsert",
    "delete",
    "maintain",
    "refit",
    "forget",
    "reembed",
)
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
FORMER, LATER = EnergyConfig(bits=8), EnergyConfig(bits=2, seed=1)
ENERGY = ("energy_lambda", "energy_dispersion", "energy_cell")
K = 10
# Numbers of rows that add and upsert write, and delete deletes.
WRITES = [*range(0, 80, 2), *range(260, 340), *range(1000, 1040)]


def _rows(numbers, wording=0):
    """Arguments of a write: ids, documents and metadata of rows by number."""
    words = texts(max(numbers) + 1, seed=wording)
    return {
        "ids": [f"r{i}" for i in numbers],
        "documents": [f"{words[i]} {i} {wording}" for i in numbers],
        "metadatas": [
            {"n": i, "wording": wording, "seen": (NOW - timedelta(days=3 * i)).isoformat()}
            for i in numbers
        ],
    }


def _grown(numbers):
    """Rows of one kind far from the others, which overload a cell."""
    rows = _rows(numbers)
    rows["documents"] = [f"serum serum serum blood blood bone {i}" for i in numbers]
    return rows


def prepare(say, folder, verb):
    """The store before the verb."""
    client = chromadb.PersistentClient(folder)
    made = client.create_collection("docs", embedding_function=GramEmbedding())
    made.add(**_rows(range(ROWS)))
    if verb != "first build":
        energy = EnergyCollection(made).build(FORMER)
        energy.add(**_grown(range(ROWS, ROWS + GROWN)))
    return {}


def _open(folder):
    client = chromadb.PersistentClient(folder)
    try:
        return client, client.get_collection("docs")
    except NotFoundError:  # the moment between the two renames of a reembedding
        assert recover(client) == ["docs"]
        return client, client.get_collection("docs")


def _do(energy, verb):
    if verb in ("first build", "build"):
        energy.build(LATER)
    elif verb == "add":
        energy.add(**_rows(range(1000, 1000 + WRITTEN)))
    elif verb == "upsert":  # half of them new
        energy.upsert(**_rows(range(ROWS + GROWN - WRITTEN, ROWS + GROWN + WRITTEN), wording=7))
    elif verb == "delete":
        energy.delete(ids=[f"r{i}" for i in range(0, 2 * WRITTEN, 2)])
    elif verb == "maintain":
        energy.maintain()
    elif verb == "refit":
        energy.refit(LATER)
    elif verb == "forget":
        energy.forget(NOW, time_key="seen", dry_run=False)
    elif verb == "reembed":
        energy.reembed(GramEmbedding(2))
    else:
        raise AssertionError(verb)


def act(say, folder, verb):
    """The verb, between two marks."""
    client = chromadb.PersistentClient(folder)
    energy = EnergyCollection(client.get_collection("docs"))
    energy.count()
    say("begin")
    _do(energy, verb)
    return "end"


def _visible(made):
    """What stands in Chroma: id → digest of vector, document and the user's metadata."""
    got = made.get(include=["embeddings", "documents", "metadatas"])
    return {
        name: digest(
            np.asarray(vector, dtype=np.float32).tobytes(),
            document,
            {key: value for key, value in metadata.items() if key not in ENERGY},
        )
        for name, vector, document, metadata in zip(
            got["ids"], got["embeddings"], got["documents"], got["metadatas"], strict=True
        )
    }


def _queries(made):
    """Vectors near rows of each kind; the same whatever the collection holds."""
    numbers = (2, 3, 100, ROWS + GROWN - 1, 1003)
    wordings = [_rows([i])["documents"][0] for i in numbers] + [
        _rows([ROWS + 1], wording=7)["documents"][0],
        "serum blood bone",
    ]
    size = made.configuration_json["embedding_function"]["config"]["size"]
    return np.array(GramEmbedding(size)(wordings))


def _answers(energy):
    got = energy.query(
        query_embeddings=_queries(energy.collection),
        n_results=K,
        include=["distances", "documents"],
    )
    for documents in got["documents"]:
        assert None not in documents
    return [list(zip(*one, strict=True)) for one in zip(got["ids"], got["distances"], strict=True)]


def _astray(energy):
    """Of the rows that the verbs write, those that a search for their vector does not find."""
    got = energy.get(ids=[f"r{i}" for i in WRITES], include=["embeddings"])
    found = energy.query(query_embeddings=got["embeddings"], n_results=1, include=[])["ids"]
    return [name for name, hits in zip(got["ids"], found, strict=True) if hits != [name]]


def _state(made):
    rows = _visible(made)
    energy = EnergyCollection(made)
    try:
        answers = _answers(energy)
    except NotBuiltError:
        return State(rows, None, 0, [])
    astray = _astray(EnergyCollection(made)) if energy.field.config.bits == FORMER.bits else []
    return State(rows, answers, energy.info().generation, astray)


def look(say, folder):
    """The whole state, as a new process sees it."""
    return _state(_open(folder)[1]).to_json()


def mend(say, folder, verb):
    """`look`, then verify, repair, and the verb once more to its end."""
    client, made = _open(folder)
    say(_state(made).to_json())
    energy = EnergyCollection(made)
    found = [finding.kind for finding in energy.verify()]
    if found == ["missing"]:  # killed before there was a first field
        assert verb == "first build"
    else:
        energy.repair()
    say(found)
    fresh = EnergyCollection(made)
    say([] if found == ["missing"] else [str(finding) for finding in fresh.verify()])
    say(_state(made).to_json())
    recover(client)
    again = EnergyCollection(client.get_collection("docs"))
    _do(again, verb)
    again.repair()
    assert EnergyCollection(again.collection).verify() == []
    names = sorted(one.name for one in client.list_collections())
    assert names == sorted(["docs", f"energy-{again.collection.id}"])
    return _state(again.collection).to_json()


def between(say, folder, template, before, after):
    """The state of the former field over the rows of `folder`, of which some are as they were
    before and some as they are after: written by plain Chroma into a copy of the store before."""
    rows = _visible(_open(folder)[1])
    other = f"{folder}-between"
    shutil.copytree(template, other)
    made = _open(other)[1]
    source = _open(folder)[1]
    gone = [name for name in before if name not in rows]
    if gone:
        made.delete(ids=gone)
    news = [name for name in rows if rows[name] != before.get(name)]
    assert all(rows[name] == after.get(name) for name in news)
    if news:
        got = source.get(ids=news, include=["embeddings", "documents", "metadatas"])
        made.upsert(**{name: got[name] for name in ("ids", "embeddings", "documents", "metadatas")})
    return _state(made).to_json()
