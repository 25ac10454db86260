"""Both hosts answer alike whatever the caller set for torch, numpy and warnings."""

import chromadb
import lancedb
import numpy as np
import pyarrow as pa
import pytest
import torch
from energy_chroma import EnergyCollection
from energy_lancedb import EnergyReranker, EnergyTable

from energy_plugin.optical import load_encoder

_TEXTS = [
    f"Note {n}: about {word}"
    for n, word in enumerate(["rain", "sun", "wind", "hail", "snow", "fog"] * 9)
]


def _chroma(where):
    client = chromadb.PersistentClient(str(where / "chroma"))
    vectors = load_encoder().encode(_TEXTS)
    plain = client.create_collection("notes", embedding_function=None)
    ids = [str(n) for n in range(len(_TEXTS))]
    plain.add(ids=ids, documents=_TEXTS, embeddings=vectors)
    notes = EnergyCollection(plain)
    notes.build()
    notes.add(ids=["more"], documents=["snow and hail"], embeddings=vectors[3:4])
    found = notes.query(query_embeddings=vectors[:4], n_results=5)
    return found["ids"], np.array(found["distances"])


def _lance(where):
    vectors = load_encoder().encode(_TEXTS)
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    data = pa.table({"id": np.arange(len(_TEXTS)), "text": _TEXTS, "vector": values})
    plain = lancedb.connect(str(where / "lance")).create_table("notes", data)
    notes = EnergyTable(plain)
    notes.build()
    found = [notes.search(vector).limit(5).to_arrow() for vector in vectors[:4]]
    again = (
        plain.search(vectors[5])
        .limit(20)
        .rerank(EnergyReranker(notes, embed=load_encoder().encode), query_string=_TEXTS[5])
    ).to_arrow()
    ids = [each["id"].to_pylist() for each in (*found, again.slice(0, 5))]
    return ids, np.array([each["_distance"].to_pylist() for each in found])


@pytest.fixture(scope="module")
def neutral(tmp_path_factory):
    return {host: host(tmp_path_factory.mktemp("neutral")) for host in (_chroma, _lance)}


@pytest.mark.parametrize("host", [_chroma, _lance])
@pytest.mark.parametrize("name", ["float16", "float64", "meta", "inference", "numpy raises"])
def test_a_host_answers_as_for_a_caller_who_set_nothing(host, name, neutral, tmp_path):
    try:
        if name.startswith("float"):
            torch.set_default_dtype(getattr(torch, name))
        elif name == "meta":
            torch.set_default_device("meta")
        errors = "raise" if name == "numpy raises" else "warn"
        with torch.inference_mode(name == "inference"), np.errstate(all=errors):
            ids, distances = host(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert ids == neutral[host][0]
    assert np.allclose(distances, neutral[host][1], atol=2e-5)
